#!/usr/bin/env python3
"""Writes the seeds of the fuzzers for the readers of files: small files that hold (good-*) and that lie (bad-*)."""

import json
import pathlib
import struct

SEEDS = pathlib.Path(__file__).parent / "seeds"


def u32(n):
    return struct.pack("<I", n)


def u64(n):
    return struct.pack("<Q", n)


def text(s):
    return u64(len(s)) + s.encode()


def pair(key, kind, value):
    return text(key) + u32(kind) + value


def tensor(name, dims, kind, offset):
    return text(name) + u32(len(dims)) + b"".join(map(u64, dims)) + u32(kind) + u64(offset)


def gguf(pairs=(), tensors=(), data=b"", version=3, counts=None):
    tensor_count, pair_count = counts or (len(tensors), len(pairs))
    head = b"GGUF" + u32(version) + u64(tensor_count) + u64(pair_count) + b"".join(pairs) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + data


def safetensors(header, data=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return u64(len(header)) + header + data


def entry(dtype, shape, start, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def npy(header, data=b"", version=1):
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode() + data


def described(descr="'<f4'", order="False", shape="(2, 2)"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


FORMATS = """language 1;
format t = block i < 4, bytes 2 {
    s: uint(8) at 0;
    c[i]: uint(2) at 8 + 2 * i;
    value = s * c[i];
}
"""
KERNEL = "language 1;\nkernel k(input x: f32[N]) -> output y: f32[N] { y[n] = x[n]; }\n"


def listed(*entries):
    return "{%s}" % ",".join('"%s":{"format":"%s","shape":%s}' % e for e in entries)


def defining(formats, tensors):
    """Bytes, two floats, and a type of which nothing is known, with a text that says what they are."""
    return gguf(
        [pair("lowbit.formats", 8, text(formats)), pair("lowbit.tensors", 8, text(tensors))],
        [tensor("a", [8], 24, 0), tensor("c", [2], 1, 32), tensor("b", [1], 99, 64)],
        bytes(range(96)),
    )


def defining_st(formats, tensors):
    metadata = {"lowbit.formats": formats, "lowbit.tensors": tensors}
    return safetensors({"__metadata__": metadata, "a": entry("U8", [8], 0, 8)}, bytes(range(8)))


FILES = {
    "gguf": {
        "good-defined": defining(FORMATS, listed(("a", "t", [4, 4]), ("b", "t", [5]), ("c", "bf16", [2, 1]), ("x", "t", [4]))),
        "good-defined-import": defining('language 1;\nimport "std/floats";\n', listed(("a", "f8e4m3fn", [8]))),
        "bad-defined-kernel": defining(KERNEL, "{}"),
        "bad-defined-import": defining('language 1;\nimport "beside";\n', "{}"),
        "bad-defined-text": defining("language 1;\nformat t = block i < 0 {", "{}"),
        "bad-defined-size": defining(FORMATS, listed(("a", "t", [3, 4]))),
        "bad-defined-extents": defining(FORMATS, listed(("a", "t", [1 << 63, 4]))),
        "bad-defined-twice": defining(FORMATS, listed(("a", "t", [16]), ("a", "t", [16]))),
        "bad-defined-name": defining(FORMATS, listed(("a", "u", [16]))),
        "bad-defined-list": defining(FORMATS, "[" * 4096),
        "good-empty": gguf(),
        "good-version-2": gguf(version=2),
        "good-tensors": gguf(
            [pair("general.name", 8, text("seed")), pair("general.alignment", 4, u32(32))],
            [tensor("q", [32, 1], 3, 0), tensor("f", [2], 0, 32), tensor("x", [4], 99, 64)],
            bytes(range(96)),
        ),
        "good-kinds": gguf([pair(f"k{k}", k, bytes(n)) for k, n in enumerate([1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8])]),
        "good-lists": gguf([pair("t", 9, u32(8) + u64(2) + text("a") + text("b")), pair("n", 9, u32(9) + u64(1) + u32(0) + u64(3) + b"abc")]),
        "bad-tensor-count": gguf(counts=(1 << 60, 0)),
        "bad-pair-count": gguf(counts=(0, 1 << 60)),
        "bad-list-count": gguf([pair("t", 9, u32(4) + u64(1 << 62))]),
        "bad-list-depth": gguf([pair("t", 9, (u32(9) + u64(1)) * 64)]),
        "bad-alignment": gguf([pair("general.alignment", 4, u32(0))]),
        "bad-overlap": gguf((), [tensor("a", [16], 0, 0), tensor("b", [8], 0, 32)], bytes(64)),
        "bad-offset": gguf((), [tensor("a", [8], 0, (1 << 64) - 32)], bytes(64)),
        "bad-extents": gguf((), [tensor("a", [1 << 40, 1 << 40], 0, 0)], bytes(64)),
        "bad-names": gguf((), [tensor("a", [8], 0, 0), tensor("a", [8], 0, 32)], bytes(64)),
    },
    "safetensors": {
        "good-defined": defining_st(FORMATS, listed(("a", "t", [4, 4]))),
        "bad-defined-size": defining_st(FORMATS, listed(("a", "t", [4]))),
        "bad-defined-text": defining_st("format", "{}"),
        "good-empty": safetensors({}),
        "good-tensors": safetensors({"__metadata__": {"k": "v"}, "a": entry("F32", [2], 0, 8), "b": entry("BF16", [1, 2], 8, 12)}, bytes(12)),
        "good-unknown-type": safetensors({"a": entry("I4", [4], 0, 2)}, bytes(2)),
        "bad-length": u64(1 << 60),
        "bad-gap": safetensors({"a": entry("U8", [1], 1, 2)}, bytes(2)),
        "bad-overlap": safetensors({"a": entry("U8", [2], 0, 2), "b": entry("U8", [2], 1, 3)}, bytes(3)),
        "bad-size": safetensors({"a": entry("F32", [2], 0, 4)}, bytes(4)),
        "bad-extents": safetensors({"a": entry("F32", [1 << 40, 1 << 40], 0, 4)}, bytes(4)),
        "bad-nesting": safetensors(b'{"a":' + b"[" * 4096),
        "bad-names": safetensors(b'{"a":%s,"a":%s}' % tuple(json.dumps(entry("U8", [1], i, i + 1)).encode() for i in range(2)), bytes(2)),
    },
    "npy": {
        "good-f4": npy(described(), bytes(16)),
        "good-version-2": npy(described("'|u1'", shape="(3,)"), bytes(3), 2),
        "good-version-3": npy(described("'<f2'", shape="()"), bytes(2), 3),
        "good-f8": npy(described("'<f8'", shape="(0, 5)")),
        "bad-fortran": npy(described(order="True"), bytes(16)),
        "bad-big-end": npy(described("'>f4'"), bytes(16)),
        "bad-record": npy(described("[('a', '<f4')]"), bytes(16)),
        "bad-extents": npy(described(shape="(18446744073709551615, 2)"), bytes(16)),
        "bad-length": b"\x93NUMPY\x02\x00" + u32(0xFFFFFFFF),
        "bad-data": npy(described(), bytes(15)),
        "bad-dictionary": npy("{'descr': '<f4', 'shape': (((((((((("),
    },
}

for kind, files in FILES.items():
    folder = SEEDS / kind
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.{kind}").write_bytes(content)
