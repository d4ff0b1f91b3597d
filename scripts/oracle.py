#!/usr/bin/env python3
"""What independent implementations say of formats and products. Run by scripts/oracle.sh, which installs what it needs.

    oracle.py            products with the weights of a whole model: target/oracle/smollm2.json and .f64
    oracle.py --formats  decoded values of random blocks: target/oracle/formats/*.bin (described in formats.json); decoded and
                         encoded values of every format that ships: target/oracle/library/ (see oracles/book.py); errors of
                         ggml's quantisers: target/oracle/quantisers.json
    oracle.py --read F   what the tensors of a GGUF file are and hold, as JSON on the standard output

Every file is little endian. Nothing here is random from run to run."""

import argparse
import json
import pathlib

import numpy as np

ROOT = pathlib.Path(__file__).parent.parent
OUT = ROOT / "target" / "oracle"
MODEL = ROOT / "weights" / "SmolLM2-135M-Instruct.Q4_1.gguf"

# Blocks of each type, and where their f16 scales lie (these are kept finite).
GGML = {
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "IQ4_NL": [0],
    "MXFP4": [],
    "NVFP4": [],
    "TQ1_0": [52],
    "TQ2_0": [64],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
    "IQ2_XXS": [0],
    "IQ2_XS": [0],
    "IQ2_S": [0],
    "IQ3_XXS": [0],
    "IQ3_S": [0],
    "IQ1_S": [0],
    "IQ1_M": [],
    "IQ4_XS": [0],
}
# Types that gguf quantises to
ENCODED = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4"]
BLOCKS = 512


def vector(length):
    """The activations: numbers that f32 holds exactly, by a formula that any program can repeat."""
    k = np.arange(length, dtype=np.int64)
    return ((k * 37 + 11) % 64 - 32).astype(np.float64) / 32


def products():
    from gguf import GGMLQuantizationType as Type
    from gguf import GGUFReader, quants

    report, results, at = [], [], 0
    for tensor in GGUFReader(MODEL).tensors:
        if tensor.tensor_type != Type.Q4_1:
            continue
        weights = quants.dequantize(tensor.data, Type.Q4_1).astype(np.float64)
        y = weights @ vector(weights.shape[1])
        report.append(
            {
                "name": tensor.name,
                "shape": list(weights.shape),
                "first": y[:8].tolist(),
                "norm": float(np.sqrt((y * y).sum())),
                "at": at,
            }
        )
        results.append(y)
        at += len(y)
    OUT.mkdir(parents=True, exist_ok=True)
    np.concatenate(results).astype("<f8").tofile(OUT / "smollm2.f64")
    (OUT / "smollm2.json").write_text(json.dumps({"x": "((k*37+11) % 64 - 32) / 32", "tensors": report}, indent=1))
    print(f"{len(report)} products in {OUT.relative_to(ROOT)}/smollm2.json")


def blocks(name, size, scales, random):
    """Random blocks; among the scales are zeros, subnormals and the largest ones."""
    data = random.integers(0, 256, (BLOCKS, size), dtype=np.uint8)
    for at in scales:
        bits = random.integers(0, 1 << 16, BLOCKS, dtype=np.uint16)
        bits = np.where((bits >> 10) & 31 == 31, bits & 0x83FF, bits).astype("<u2")
        bits[:4] = [0x0000, 0x8000, 0x0001, 0x7BFF]
        data[:, at : at + 2] = bits.view(np.uint8).reshape(BLOCKS, 2)
    if name == "IQ1_M":  # its scale lies in four words; a bit of the exponent is cleared
        data[:, 55] &= 0xBF
    if name == "MXFP4":
        data[:, 0] = np.arange(BLOCKS) % 256
    if name == "NVFP4":
        data[:, :4] = np.arange(4 * BLOCKS).reshape(BLOCKS, 4) % 256
    return data


def encodings(quants, Type, folder, random):
    """Numbers of many sizes, and what gguf makes of them: bell curves, ties, zeros, one large number, tiny ones."""
    data = random.standard_normal((BLOCKS, 256)).astype("<f4")
    data *= np.float32(2.0) ** random.integers(-20, 12, (BLOCKS, 1)).astype(np.float32)
    data[0] = 0
    data[1] = np.arange(256) % 32 - 16
    data[2] = np.arange(256) / 2 - 64
    data[3, ::7] = 1000
    data[4] *= np.float32(1e-30) / np.abs(data[4]).max()
    data[5] = np.where(np.arange(256) % 3 == 0, -1.5, 1.5)
    data[6] = np.abs(data[6])
    data[7] = -np.abs(data[7])
    data.tofile(folder / "numbers.bin")
    index = []
    for name in ENCODED:
        kind = Type[name]
        with np.errstate(all="ignore"):
            quants.quantize(data, kind).tofile(folder / f"{name}.encoded.bin")
        index.append({"name": name, "dtype": f"ggml:{int(kind)}", "rows": BLOCKS, "cols": 256})
    return index


def formats():
    from gguf import GGML_QUANT_SIZES, quants
    from gguf import GGMLQuantizationType as Type

    folder = OUT / "formats"
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.Generator(np.random.PCG64(20_26))
    index = []
    for name, scales in GGML.items():
        kind = Type[name]
        length, size = GGML_QUANT_SIZES[kind]
        data = blocks(name, size, scales, random)
        with np.errstate(over="ignore"):
            values = quants.dequantize(data, kind).astype("<f4")
        assert values.shape == (BLOCKS, length)
        data.tofile(folder / f"{name}.blocks.bin")
        values.tofile(folder / f"{name}.values.bin")
        index.append({"name": name, "dtype": f"ggml:{int(kind)}", "rows": BLOCKS, "cols": length})
    encoded = encodings(quants, Type, folder, random)
    (folder / "formats.json").write_text(json.dumps({"blocks": index, "encoded": encoded}, indent=1))
    print(f"{len(index)} block formats in {folder.relative_to(ROOT)}")


def library():
    from oracles import bnb, floats, ggml, onnx, parametric, quantisers
    from oracles.book import Book

    book = Book(OUT / "library")
    for implementation in (floats, parametric, onnx, bnb, ggml):
        implementation.write(book)
    book.close()
    print(f"{len(book.entries)} comparisons in {book.folder.relative_to(ROOT)}")
    quantisers.write(OUT, ROOT / "tests" / "data" / "smollm2-slice.gguf")


def read(path):
    from gguf import GGMLQuantizationType as Type
    from gguf import GGUFReader, quants

    reader = GGUFReader(path)
    tensors = []
    for tensor in reader.tensors:
        plain = tensor.tensor_type in (Type.F32, Type.I8)
        values = tensor.data if plain else quants.dequantize(tensor.data, tensor.tensor_type)
        tensors.append(
            {
                "name": tensor.name,
                "type": int(tensor.tensor_type),
                "shape": [int(n) for n in reversed(tensor.shape)],
                "values": values.astype("<f8").flatten().tolist(),
            }
        )
    texts = {key: field.contents() for key, field in reader.fields.items() if key.startswith("lowbit.")}
    print(json.dumps({"tensors": tensors, "texts": texts}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formats", action="store_true", help="values of formats instead of products")
    parser.add_argument("--read", metavar="FILE", help="the tensors of a file instead")
    arguments = parser.parse_args()
    if arguments.read:
        read(arguments.read)
    elif arguments.formats:
        formats()
        library()
    else:
        products()
