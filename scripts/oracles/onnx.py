"""ONNX Runtime: MatMulNBits and MatMulBnb4, multiplied by the identity. A sum of products with zeros and a one has no
rounding, but it loses the sign of zeros: these are compared without one."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from .book import random_of

SOURCE = "ONNX Runtime"
ROWS = 64


def product(op, k, n, attributes, tensors):
    """B, row by row."""
    a = helper.make_tensor_value_info("a", TensorProto.FLOAT, [None, k])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, n])
    node = helper.make_node(op, ["a", *tensors], ["y"], domain="com.microsoft", K=k, N=n, **attributes)
    known = [numpy_helper.from_array(v, name) for name, v in tensors.items()]
    graph = helper.make_graph([node], "oracle", [a], [y], known)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"a": np.eye(k, dtype=np.float32)})[0].T


def scales(random, shape):
    """Numbers of every size whose products are finite and normal, and some zeros."""
    x = np.ldexp(random.uniform(1, 2, shape), random.integers(-90, 90, shape))
    x = np.where(random.integers(0, 16, shape) == 0, 0, x)
    return (x * random.choice([-1, 1], shape)).astype(np.float32)


def columns(random, shape):
    """Bytes, each value about as often as each other."""
    count = int(np.prod(shape))
    each = np.tile(np.arange(256, dtype=np.uint8), -(-count // 256))[:count]
    return random.permutation(each).reshape(shape)


def nbits(book, bits, size, with_zeros):
    name = f"nbits{bits}_{size}" + ("_zero" if with_zeros else "")
    random = random_of(name)
    across = 16 * 32 // size
    blob = columns(random, (ROWS, across, size * bits // 8))
    scale = scales(random, (ROWS, across))
    tensors = {"b": blob, "scales": scale.reshape(-1)}
    front = [scale[..., None].view(np.uint8)]
    if with_zeros:
        zeros = columns(random, (ROWS, across * bits // 8))
        tensors["zeros"] = zeros.reshape(-1)
        each = np.unpackbits(zeros, axis=1, bitorder="little").reshape(ROWS, across, bits)
        front.append(np.packbits(each, axis=2, bitorder="little"))
    values = product("MatMulNBits", size * across, ROWS, {"bits": bits, "block_size": size}, tensors)
    book.decode(SOURCE, name, np.concatenate([*front, blob], axis=2), values, unsigned_zeros=True)


def bnb4(book, kind, quant_type):
    name = f"matmul_bnb4_{kind}_64"
    random = random_of(name)
    codes = columns(random, (ROWS, 8, 32))
    absmax = np.abs(scales(random, (ROWS, 8)))
    tensors = {"b": codes.reshape(-1), "absmax": absmax.reshape(-1)}
    values = product("MatMulBnb4", 512, ROWS, {"block_size": 64, "quant_type": quant_type}, tensors)
    book.decode(SOURCE, name, np.concatenate([absmax[..., None].view(np.uint8), codes], axis=2), values, unsigned_zeros=True)


def write(book):
    for bits in (2, 4, 8):
        for size in (32, 128):
            for with_zeros in (False, True):
                nbits(book, bits, size, with_zeros)
    bnb4(book, "fp4", 0)
    bnb4(book, "nf4", 1)
