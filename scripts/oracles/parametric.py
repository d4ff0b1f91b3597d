"""gfloat: floats of any widths, biases and special values, against `float(…)` of the language."""

import warnings

import numpy as np
from gfloat import Domain, FormatInfo, decode_float, encode_float, round_float

from .book import edges, random_of

SOURCE = "gfloat"
FORMATS = 96
# Numbers of each format, of those at which rounding decides.
NUMBERS = 256


def parameters(random):
    """A float of at most 8 bits that the language and gfloat can both say."""
    while True:
        exp, man = int(random.integers(1, 7)), int(random.integers(0, 6))
        specials = ("ieee", "finite", "nan", "fnuz")[random.integers(4)]
        signed = bool(random.integers(4)) or specials == "fnuz"
        # Without subnormals gfloat has no zero only if there is no mantissa: a power of two, as of a scale.
        subnormals = man > 0 or signed or specials in ("ieee", "fnuz") or not random.integers(2)
        bias = (1 << (exp - 1)) - 1 + int(random.integers(-9, 10))
        if exp + man + signed > 8 or (specials == "ieee" and (exp < 2 or man == 0)):
            continue
        if specials == "nan" and exp + man < 2:
            continue
        return exp, man, bias, specials, signed, subnormals


def text(exp, man, bias, specials, signed, subnormals, overflow):
    words = [str(exp), str(man), f"bias {bias}" if bias >= 0 else f"bias 0 - {-bias}", specials]
    words += [] if specials == "finite" else ["overflow" if overflow else "saturate"]
    words += [] if signed else ["unsigned"]
    words += [] if subnormals else ["no_subnormals"]
    return f"float({', '.join(words)})"


def info(exp, man, bias, specials, signed, subnormals):
    nans = {"ieee": (1 << man) - 1, "finite": 0, "nan": 1, "fnuz": 0}[specials]
    return FormatInfo(
        name="made up",
        k=exp + man + signed,
        precision=man + 1,
        bias=bias,
        is_signed=signed,
        domain=Domain.Extended if specials == "ieee" else Domain.Finite,
        has_nz=specials != "fnuz" and signed,
        num_high_nans=nans,
        has_subnormals=subnormals,
        is_twos_complement=False,
    )


def encoded(kind, numbers, saturate):
    codes = [encode_float(kind, round_float(kind, float(x), sat=saturate)) for x in numbers]
    return np.array(codes, dtype=np.uint8)


def unsigned_scale(book):
    """NVIDIA's E4M3 without a sign."""
    kind = info(4, 3, 7, "nan", False, True)
    codes = np.arange(1 << kind.k, dtype=np.uint8)
    values = np.array([decode_float(kind, int(c)).fval for c in codes], dtype=np.float32)
    numbers = edges(values)
    numbers = numbers[~np.signbit(numbers)]
    book.decode(SOURCE, "ue4m3", codes, values)
    book.encode(SOURCE, "ue4m3", numbers, encoded(kind, numbers, True))


def write(book):
    unsigned_scale(book)
    random = random_of("parametric")
    seen = set()
    while len(seen) < FORMATS:
        drawn = parameters(random)
        if drawn in seen:
            continue
        seen.add(drawn)
        specials, signed = drawn[3], drawn[4]
        kind = info(*drawn)
        codes = np.arange(1 << kind.k, dtype=np.uint8)
        values = np.array([decode_float(kind, int(c)).fval for c in codes], dtype=np.float32)
        numbers = edges(values)
        # A NaN needs a code, and numbers below zero a sign.
        numbers = numbers[~np.isnan(numbers)] if kind.num_nans == 0 else numbers
        numbers = numbers if signed else numbers[~np.signbit(numbers)]
        # Below the smallest power of two gfloat has no code to round to.
        numbers = numbers if drawn[5] else numbers[~(numbers < np.nanmin(values))]
        numbers = random.permutation(numbers)[:NUMBERS]
        for overflow in (False, True) if specials != "finite" else (False,):
            words = text(*drawn, overflow)
            book.decode(SOURCE, "", codes, values, text=words)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                book.encode(SOURCE, "", numbers, encoded(kind, numbers, not overflow), text=words)
