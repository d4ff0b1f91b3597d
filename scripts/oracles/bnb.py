"""bitsandbytes: its library for CPUs, called without the Python around it (which needs torch)."""

import ast
import ctypes
import importlib.util
import pathlib
import types

import numpy as np

from .book import random_of

SOURCE = "bitsandbytes"
BLOCKS = 256


def folder():
    return pathlib.Path(importlib.util.find_spec("bitsandbytes").origin).parent


def linspace(start, end, steps, dtype):
    """torch.linspace: in f32, from both ends towards the middle, a product and a sum rounded once."""
    start, end = np.float32(start), np.float32(end)
    step = float((end - start) / np.float32(steps - 1))
    up = [float(start) + step * i for i in range(steps // 2)]
    down = [float(end) - step * (steps - 1 - i) for i in range(steps // 2, steps)]
    return np.array(up + down, dtype=np.float32)


def dynamic_map():
    """`create_dynamic_map` of bitsandbytes itself, on numpy in place of torch."""
    source = (folder() / "functional.py").read_text()
    functions = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)]
    rule = [f for f in functions if f.name == "create_dynamic_map"]
    torch = types.SimpleNamespace(float32=np.float32, linspace=linspace, tensor=lambda data, dtype: np.array(data, dtype))
    scope = {"torch": torch}
    exec(compile(ast.Module(rule, []), "functional.py", "exec"), scope)
    return scope["create_dynamic_map"]()


def pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)


def absmax(random):
    """Largest magnitudes of every size whose products are f32, a zero and a one among them."""
    x = np.ldexp(random.uniform(1, 2, BLOCKS), random.integers(-100, 100, BLOCKS)).astype(np.float32)
    x[:2] = [0, 1]
    return x


def columns(random, count):
    """In every place each byte."""
    return np.stack([random.permutation(256) for _ in range(count)], axis=1).astype(np.uint8)


def dequantised(library, kind, codes, scale):
    values = np.empty((len(codes), 64), dtype=np.float32)
    sizes = [ctypes.c_longlong(n) for n in (64, len(codes), 64)]
    function = getattr(library, f"cdequantize_blockwise_cpu_{kind}_fp32")
    function(pointer(codes), pointer(scale), pointer(values), *sizes)
    return values


def four_bits(book, library, kind, element):
    name = f"bnb_{kind}_64"
    random = random_of(name)
    codes, scale = columns(random, 32), absmax(random)
    values = dequantised(library, kind, codes, scale)
    book.decode(SOURCE, name, np.concatenate([scale[:, None].view(np.uint8), codes], axis=1), values)
    each = np.arange(16, dtype=np.uint8)
    pairs = np.tile(each[::2] << 4 | each[1::2], 4)[None, :]
    book.decode(SOURCE, element, each, dequantised(library, kind, pairs, np.ones(1, dtype=np.float32))[0, :16])
    if kind == "nf4":
        # The same with the first of two elements in the low nibble.
        swapped = codes << 4 | codes >> 4
        book.decode(SOURCE, "nf4_64", np.concatenate([scale[:, None].view(np.uint8), swapped], axis=1), values)


def eight_bits(book, library):
    name = "bnb_dynamic8_256"
    random = random_of(name)
    table, codes, scale = dynamic_map(), columns(random, 256), absmax(random)
    book.decode(SOURCE, "bnb_dynamic8", np.arange(256, dtype=np.uint8), table)
    sizes = [ctypes.c_longlong(n) for n in (256, BLOCKS * 256)]
    values = np.empty((BLOCKS, 256), dtype=np.float32)
    library.cdequantize_blockwise_cpu_fp32(pointer(table), pointer(codes), pointer(scale), pointer(values), *sizes)
    book.decode(SOURCE, name, np.concatenate([scale[:, None].view(np.uint8), codes], axis=1), values)
    x = (random.standard_normal((BLOCKS, 256)) * absmax(random)[:, None]).astype(np.float32)
    library.cquantize_blockwise_cpu_fp32(pointer(table), pointer(x), pointer(scale), pointer(codes), *sizes)
    book.encode(SOURCE, name, x, np.concatenate([scale[:, None].view(np.uint8), codes], axis=1))


def write(book):
    library = ctypes.CDLL(str(folder() / "libbitsandbytes_cpu.so"))
    four_bits(book, library, "nf4", "nf4")
    four_bits(book, library, "fp4", "bnb_fp4")
    eight_bits(book, library)
