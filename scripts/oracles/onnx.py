"""ONNX Runtime: MatMulNBits and MatMulBnb4, multiplied by the identity, and the quantisers that make their tensors. A sum of
products with zeros and a one has no rounding, but it loses the sign of zeros: these are compared without one."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi import _pybind_state as quantisers

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


def front(scale, zeros, bits):
    """What lies before the codes of each block: the scale, and its zero point from words that pack those of a row."""
    scale = np.ascontiguousarray(scale)[..., None].view(np.uint8)
    if zeros is None:
        return scale
    each = np.unpackbits(zeros, axis=1, bitorder="little")[:, : scale.shape[1] * bits]
    each = np.packbits(each.reshape(*scale.shape[:2], bits), axis=2, bitorder="little")
    return np.concatenate([scale, each], axis=2)


def weights(random, across, size):
    """Blocks of normal numbers; of zeros, of one sign, of halves and of quarters, where quotients are ties."""
    x = random.standard_normal((ROWS, across, size)) * np.ldexp(1.0, random.integers(-20, 20, (ROWS, across, 1)))
    x[0] = 0
    x[1], x[2] = np.abs(x[1]), -np.abs(x[2])
    x[3:16] = random.integers(-16, 17, (13, across, size)) / 2
    x[16:24] = random.integers(-512, 513, (8, across, size)) / 4
    x[24:32, :, ::3] = 0
    return x.reshape(ROWS, across * size).astype(np.float32)


def nbits(book, bits, size, with_zeros):
    name = f"nbits{bits}_{size}" + ("_zero" if with_zeros else "")
    random = random_of(name)
    across = 16 * 32 // size
    blob = columns(random, (ROWS, across, size * bits // 8))
    scale = scales(random, (ROWS, across))
    tensors = {"b": blob, "scales": scale.reshape(-1)}
    zeros = columns(random, (ROWS, across * bits // 8)) if with_zeros else None
    if with_zeros:
        tensors["zeros"] = zeros.reshape(-1)
    values = product("MatMulNBits", size * across, ROWS, {"bits": bits, "block_size": size}, tensors)
    data = np.concatenate([front(scale, zeros, bits), blob], axis=2)
    book.decode(SOURCE, name, data, values, unsigned_zeros=True)

    x = weights(random, across, size)
    blob, scale, zeros = np.zeros_like(blob), np.zeros_like(scale), np.zeros((ROWS, across * bits // 8), dtype=np.uint8)
    quantise = getattr(quantisers, f"quantize_matmul_{bits}bits")
    quantise(blob, np.ascontiguousarray(x.T), scale.reshape(-1), zeros.reshape(-1), size, ROWS, size * across, not with_zeros)
    data = np.concatenate([front(scale, zeros if with_zeros else None, bits), blob], axis=2)
    book.encode(SOURCE, name, x, data)


def bnb4(book, kind, quant_type):
    name = f"matmul_bnb4_{kind}_64"
    random = random_of(name)
    codes = columns(random, (ROWS, 8, 32))
    absmax = np.abs(scales(random, (ROWS, 8)))
    tensors = {"b": codes.reshape(-1), "absmax": absmax.reshape(-1)}
    values = product("MatMulBnb4", 512, ROWS, {"block_size": 64, "quant_type": quant_type}, tensors)
    book.decode(SOURCE, name, np.concatenate([absmax[..., None].view(np.uint8), codes], axis=2), values, unsigned_zeros=True)
    x = weights(random, 8, 64)
    codes, absmax = np.zeros_like(codes), np.zeros_like(absmax)
    quantisers.quantize_matmul_bnb4(codes.reshape(-1), x, absmax.reshape(-1), 64, quant_type, ROWS, 512)
    book.encode(SOURCE, name, x, np.concatenate([absmax[..., None].view(np.uint8), codes], axis=2))


def write(book):
    for bits in (2, 4, 8):
        for size in (32, 128):
            for with_zeros in (False, True):
                nbits(book, bits, size, with_zeros)
    bnb4(book, "fp4", 0)
    bnb4(book, "nf4", 1)
