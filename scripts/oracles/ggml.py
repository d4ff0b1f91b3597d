"""ggml: the library in C itself, for blocks in which every byte has every value."""

import ctypes
import importlib.util
import pathlib

import numpy as np

from .book import random_of

SOURCE = "ggml"
# As often as that each byte of a block takes each value.
TIMES = 2

# Our name, the name there, elements and bytes of a block.
TYPES = [
    ("q4_0", "q4_0", 32, 18),
    ("q4_1", "q4_1", 32, 20),
    ("q5_0", "q5_0", 32, 22),
    ("q5_1", "q5_1", 32, 24),
    ("q8_0", "q8_0", 32, 34),
    ("q1_0", "q1_0", 128, 18),
    ("q2_0", "q2_0", 64, 18),
    ("iq4_nl", "iq4_nl", 32, 18),
    ("mxfp4_ggml", "mxfp4", 32, 17),
    ("nvfp4_ggml", "nvfp4", 64, 36),
    ("tq1_0", "tq1_0", 256, 54),
    ("tq2_0", "tq2_0", 256, 66),
    ("q2_k", "q2_K", 256, 84),
    ("q3_k", "q3_K", 256, 110),
    ("q4_k", "q4_K", 256, 144),
    ("q5_k", "q5_K", 256, 176),
    ("q6_k", "q6_K", 256, 210),
    ("iq2_xxs", "iq2_xxs", 256, 66),
    ("iq2_xs", "iq2_xs", 256, 74),
    ("iq2_s", "iq2_s", 256, 82),
    ("iq3_xxs", "iq3_xxs", 256, 98),
    ("iq3_s", "iq3_s", 256, 110),
    ("iq1_s", "iq1_s", 256, 50),
    ("iq1_m", "iq1_m", 256, 56),
    ("iq4_xs", "iq4_xs", 256, 136),
]


def library():
    folder = pathlib.Path(importlib.util.find_spec("libggml").submodule_search_locations[0])
    return ctypes.CDLL(str(folder / "lib64" / "libggml-base.so"))


def write(book):
    ggml = library()
    # The tables of half floats are made by the first context.
    ggml.ggml_init.restype = ctypes.c_void_p
    ggml.ggml_init.argtypes = [ctypes.c_size_t * 3]
    ggml.ggml_init((ctypes.c_size_t * 3)(1 << 16, 0, 0))
    for ours, theirs, length, size in TYPES:
        random = random_of(ours)
        data = np.concatenate([np.stack([random.permutation(256) for _ in range(size)], axis=1) for _ in range(TIMES)])
        data = np.ascontiguousarray(data.astype(np.uint8))
        values = np.empty((len(data), length), dtype=np.float32)
        function = getattr(ggml, f"dequantize_row_{theirs}")
        pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (data, values)]
        function(*pointers, ctypes.c_int64(values.size))
        book.decode(SOURCE, ours, data, values)
