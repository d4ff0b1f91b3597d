"""How near ggml's own quantisers come to some values: target/oracle/quantisers.json, and the values beside it as
little-endian f32. Nothing here is random from run to run."""

import ctypes
import json

import numpy as np

from .ggml import library

TYPES = ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"]
ROW = 256


def quantiser():
    function = library().ggml_quantize_chunk
    size, pointer = ctypes.c_int64, ctypes.c_void_p
    function.restype = ctypes.c_size_t
    function.argtypes = [ctypes.c_int, pointer, pointer, size, size, size, pointer]
    return function


def error(quantise, x, name):
    """The squared error of ggml's quantiser, without importances."""
    from gguf import GGMLQuantizationType, quants
    from gguf.constants import GGML_QUANT_SIZES

    kind = GGMLQuantizationType[name]
    elements, size = GGML_QUANT_SIZES[kind]
    out = np.zeros((len(x), ROW // elements * size), dtype=np.uint8)
    written = quantise(int(kind), x.ctypes.data, out.ctypes.data, 0, len(x), ROW, None)
    assert written == out.size, kind
    y = quants.dequantize(out, kind)
    return {"name": name.lower(), "dtype": f"ggml:{int(kind)}", "error": float(((x.astype(np.float64) - y) ** 2).sum())}


def values(slice):
    """Normal numbers; the same with tails, with an offset, with sizes that differ from 32 to 32; weights of a model."""
    from gguf import GGMLQuantizationType, GGUFReader, quants

    rng = np.random.default_rng(1)
    shape = (64, ROW)
    normal = rng.standard_normal(shape) * 0.02
    sizes = np.repeat(np.exp(rng.standard_normal((64, ROW // 32))), 32, axis=1)
    yield "normal", normal
    yield "tails", rng.standard_t(4, shape) * 0.02
    yield "offset", rng.standard_normal(shape) * 0.02 + 0.03
    yield "mixed", rng.standard_normal(shape) * 0.02 * sizes
    for tensor in GGUFReader(slice).tensors:
        if tensor.tensor_type == GGMLQuantizationType.Q4_1:
            yield "weights", quants.dequantize(tensor.data, GGMLQuantizationType.Q4_1)


def write(out, slice):
    quantise = quantiser()
    report = []
    for name, data in values(slice):
        x = np.ascontiguousarray(data.reshape(-1, ROW), dtype="<f4")
        x.tofile(out / f"quantisers-{name}.f32")
        errors = [error(quantise, x, t) for t in TYPES]
        report.append({"values": name, "errors": errors})
    (out / "quantisers.json").write_text(json.dumps(report, indent=1))
