"""The files that the oracles leave in target/oracle/library/ for `tests/tests/library.rs`.

index.json lists comparisons: what kind, the format (a name of a module that ships, or a text), who says so, a shape, and two
files beside it. `decode`: bytes and the values that they are worth. `encode`: numbers and the bytes that they become. All
files are little endian; values are f32. `unsigned_zeros` says that the values lost the sign of zeros. Nothing here is random
from run to run."""

import json
import zlib

import numpy as np


class Book:
    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        self.folder, self.entries = folder, []

    def decode(self, source, format, data, values, **more):
        """Rows of bytes, and rows of as many elements as they hold."""
        self._add("decode", source, format, data, values, more)

    def encode(self, source, format, numbers, data, **more):
        """Rows of numbers, and the bytes that they become."""
        self._add("encode", source, format, data, numbers, more)

    def _add(self, kind, source, format, data, values, more):
        stem = f"{len(self.entries):03}-{kind}"
        np.ascontiguousarray(data).tofile(self.folder / f"{stem}.bytes")
        np.ascontiguousarray(values, dtype="<f4").tofile(self.folder / f"{stem}.f32")
        shape = list(values.shape) if values.ndim > 1 else [1, *values.shape]
        self.entries.append({"kind": kind, "source": source, "format": format, "shape": shape, "stem": stem} | more)

    def close(self):
        (self.folder / "index.json").write_text(json.dumps(self.entries, indent=1))


def random_of(name):
    """A generator of its own for each format, so that adding one changes no other."""
    return np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))


def edges(values):
    """Numbers at which rounding to one of `values` decides: the values, the points halfway between neighbours, the f32
    beside each of these, what lies beyond the largest, zeros, subnormals, infinities and NaNs."""
    values = np.unique(values[np.isfinite(values)].astype(np.float64))
    halves = (values[1:] + values[:-1]) / 2
    beyond = np.array([values[-1] + (values[-1] - values[-2]) * k / 4 for k in (1, 2, 3, 4, 8)])
    below = np.array([values[0] - (values[1] - values[0]) * k / 4 for k in (1, 2, 3, 4, 8)])
    with np.errstate(over="ignore"):
        points = np.concatenate([values, halves, beyond, below, values[-1:] * 2, -values[-1:] * 2]).astype(np.float32)
    with np.errstate(over="ignore", under="ignore"):
        around = [points, np.nextafter(points, np.float32(np.inf)), np.nextafter(points, np.float32(-np.inf))]
    smallest = np.array([1, 2, 3, 0x7FFFFF, 0x800000, 0x7F7FFFFF], dtype=np.uint32).view(np.float32)
    special = np.array([0.0, -0.0, np.inf, -np.inf], dtype=np.float32)
    nans = np.array([0x7FC00000, 0xFFC00000, 0x7F800001, 0x7FFFFFFF], dtype=np.uint32).view(np.float32)
    plain = np.unique(np.concatenate([*around, smallest, -smallest]))
    return np.concatenate([plain[np.isfinite(plain)], special, nans])
