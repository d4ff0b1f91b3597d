"""ml_dtypes: small floats and integers one by one, and OCP MX blocks made of them."""

import ml_dtypes
import numpy as np

from .book import edges, random_of

SOURCE = "ml_dtypes"

# The float there, ours that rounds as it does, and ours of the other policy of overflow where there is one.
FLOATS = [
    ("float4_e2m1fn", "e2m1", None),
    ("float6_e2m3fn", "e2m3", None),
    ("float6_e3m2fn", "e3m2", None),
    ("float8_e3m4", "f8e3m4", "f8e3m4_saturate"),
    ("float8_e4m3", "f8e4m3", "f8e4m3_saturate"),
    ("float8_e4m3b11fnuz", "f8e4m3b11fnuz_overflow", "f8e4m3b11fnuz"),
    ("float8_e4m3fn", "f8e4m3fn_overflow", "f8e4m3fn"),
    ("float8_e4m3fnuz", "f8e4m3fnuz_overflow", "f8e4m3fnuz"),
    ("float8_e5m2", "f8e5m2", "f8e5m2_saturate"),
    ("float8_e5m2fnuz", "f8e5m2fnuz_overflow", "f8e5m2fnuz"),
    ("float8_e8m0fnu", "e8m0_overflow", "e8m0"),
    ("bfloat16", "bf16", "bf16_saturate"),
    ("float16", "f16", "f16_saturate"),
]
INTS = [1, 2, 4, 8]

# Blocks of 32: our name, the element, its largest power of two, the largest number.
MX = [
    ("mxfp4", "float4_e2m1fn", 2, 6.0),
    ("mxfp6_e2m3", "float6_e2m3fn", 2, 7.5),
    ("mxfp6_e3m2", "float6_e3m2fn", 4, 28.0),
    ("mxfp8_e4m3", "float8_e4m3fn", 8, 448.0),
    ("mxfp8_e5m2", "float8_e5m2", 15, 57344.0),
]
BLOCKS = 512


def dtype(name):
    return np.dtype(np.float16) if name == "float16" else np.dtype(getattr(ml_dtypes, name))


def bits(name):
    return ml_dtypes.finfo(dtype(name)).bits


def decoded(name):
    """What every code is worth."""
    kind = dtype(name)
    codes = np.arange(1 << bits(name), dtype=np.uint16 if kind.itemsize == 2 else np.uint8)
    return codes, codes.view(kind).astype(np.float32)


def encoded(name, numbers):
    """The codes of numbers. Past the largest, ml_dtypes overflows where the float has something to overflow to."""
    with np.errstate(over="ignore", invalid="ignore"):
        return numbers.astype(dtype(name)).view(np.uint16 if dtype(name).itemsize == 2 else np.uint8)


def write(book):
    for name, ours, other in FLOATS:
        codes, values = decoded(name)
        numbers = edges(values)
        for format in filter(None, (ours, other)):
            book.decode(SOURCE, format, codes, values)
        book.encode(SOURCE, ours, numbers, encoded(name, numbers))
        if other:
            # Saturation is the same rounding of numbers that are held to the range first.
            finite = values[np.isfinite(values)]
            held = np.where(np.isnan(numbers), numbers, np.clip(numbers, finite.min(), finite.max()))
            if name == "float8_e8m0fnu":
                held = np.minimum(numbers, finite.max())
            book.encode(SOURCE, other, numbers, encoded(name, held))
    integers(book)
    for row in MX:
        microscaling(book, *row)
    mxint8(book)


def integers(book):
    """Integers of ml_dtypes wrap and cut off. So numbers are rounded and held to the range before they go there."""
    for width in INTS:
        for name in (f"int{width}", f"uint{width}"):
            kind = np.dtype(name) if width == 8 else np.dtype(getattr(ml_dtypes, name))
            codes = np.arange(1 << width, dtype=np.uint8)
            values = codes.view(kind).astype(np.float32)
            book.decode(SOURCE, name, codes, values)
            numbers = edges(values)
            held = np.clip(np.rint(np.nan_to_num(numbers, nan=0)), values.min(), values.max())
            encoded = held.astype(np.int16).astype(kind).view(np.uint8) & ((1 << width) - 1)
            book.encode(SOURCE, name, numbers, encoded)


def packed(codes, width):
    """Codes of some bits each side by side, low bits first."""
    planes = (codes[..., None] >> np.arange(width)) & 1
    return np.packbits(planes.reshape(len(codes), -1), axis=1, bitorder="little")


def inputs(name):
    """Blocks whose magnitudes lie from the smallest f32 to the largest, with zeros among them."""
    random = random_of(name)
    powers = random.integers(-149, 127, (BLOCKS, 1)) + random.integers(-8, 1, (BLOCKS, 32))
    with np.errstate(over="ignore", under="ignore"):
        x = np.ldexp(random.uniform(-2, 2, (BLOCKS, 32)), powers).astype(np.float32)
    x[:4] = 0
    x[4:8, ::3] = 0
    return np.where(np.isfinite(x), x, np.float32(1))


def scales(x, largest_power):
    """Powers of two as OCP's rule has them, and their codes."""
    size = np.abs(x).max(axis=1)
    exponent = np.where(size > 0, np.frexp(size)[1] - 1 - largest_power, -127)
    codes = np.clip(exponent + 127, 0, 254).astype(np.uint8)
    return codes, codes.view(ml_dtypes.float8_e8m0fnu).astype(np.float32)[:, None]


def every_code(name, width):
    """Blocks in which each scale and each code occurs, and in every place."""
    random = random_of(name)
    codes = (np.arange(BLOCKS)[:, None] * 7 + random.integers(0, 256, 32)[None, :]) % (1 << width)
    return (np.arange(BLOCKS) % 256).astype(np.uint8), codes.astype(np.uint8)


def microscaling(book, format, name, largest_power, largest):
    width = bits(name)
    scale, codes = every_code(format, width)
    values = codes.view(dtype(name)).astype(np.float32)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        values = scale.view(ml_dtypes.float8_e8m0fnu).astype(np.float32)[:, None] * values
    book.decode(SOURCE, format, np.concatenate([scale[:, None], packed(codes, width)], axis=1), values)
    x = inputs(format)
    scale, factor = scales(x, largest_power)
    with np.errstate(over="ignore", under="ignore"):
        codes = encoded(name, np.clip(x / factor, -largest, largest))
    book.encode(SOURCE, format, x, np.concatenate([scale[:, None], packed(codes, width)], axis=1))


def mxint8(book):
    scale, codes = every_code("mxint8", 8)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        values = codes.view(np.int8).astype(np.float32) / np.float32(64)
        values = scale.view(ml_dtypes.float8_e8m0fnu).astype(np.float32)[:, None] * values
    book.decode(SOURCE, "mxint8", np.concatenate([scale[:, None], codes], axis=1), values)
    x = inputs("mxint8")
    scale, factor = scales(x, 0)
    with np.errstate(over="ignore", under="ignore"):
        codes = np.clip(np.rint(x / factor * np.float32(64)), -128, 127).astype(np.int8)
    book.encode(SOURCE, "mxint8", x, np.concatenate([scale[:, None], codes.view(np.uint8)], axis=1))
