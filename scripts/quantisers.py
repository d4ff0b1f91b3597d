#!/usr/bin/env python3
"""How near ggml's own quantisers come to some values: target/oracle/quantisers.json, and the values beside it as
little-endian f32. Run by scripts/oracle.sh, which installs what it needs. Nothing here is random from run to run."""

import ctypes
import json
import pathlib

import libggml
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFReader, quants
from gguf.constants import GGML_QUANT_SIZES

ROOT = pathlib.Path(__file__).parent.parent
OUT = ROOT / "target" / "oracle"
SLICE = ROOT / "tests" / "data" / "smollm2-slice.gguf"
TYPES = ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"]
ROW = 256


def library():
    folder = pathlib.Path(libggml.__file__).parent
    lib = ctypes.CDLL(str(next(folder.rglob("libggml-base.so"))))
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    size, pointer = ctypes.c_int64, ctypes.c_void_p
    lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, pointer, pointer, size, size, size, pointer]
    return lib


def error(lib, x, kind):
    """The squared error of ggml's quantiser, without importances."""
    elements, size = GGML_QUANT_SIZES[kind]
    out = np.zeros((len(x), ROW // elements * size), dtype=np.uint8)
    written = lib.ggml_quantize_chunk(int(kind), x.ctypes.data, out.ctypes.data, 0, len(x), ROW, None)
    assert written == out.size, kind
    y = quants.dequantize(out, kind)
    return float(((x.astype(np.float64) - y) ** 2).sum())


def values():
    """Normal numbers; the same with tails, with an offset, with sizes that differ from 32 to 32; weights of a model."""
    rng = np.random.default_rng(1)
    shape = (64, ROW)
    normal = rng.standard_normal(shape) * 0.02
    sizes = np.repeat(np.exp(rng.standard_normal((64, ROW // 32))), 32, axis=1)
    yield "normal", normal
    yield "tails", rng.standard_t(4, shape) * 0.02
    yield "offset", rng.standard_normal(shape) * 0.02 + 0.03
    yield "mixed", rng.standard_normal(shape) * 0.02 * sizes
    for tensor in GGUFReader(SLICE).tensors:
        if tensor.tensor_type == Type.Q4_1:
            yield "weights", quants.dequantize(tensor.data, Type.Q4_1)


lib = library()
OUT.mkdir(parents=True, exist_ok=True)
report = []
for name, data in values():
    x = np.ascontiguousarray(data.reshape(-1, ROW), dtype="<f4")
    x.tofile(OUT / f"quantisers-{name}.f32")
    errors = {t.lower(): error(lib, x, Type[t]) for t in TYPES}
    report.append({"values": name, "errors": errors})
(OUT / "quantisers.json").write_text(json.dumps(report, indent=1))
