#!/usr/bin/env python3
"""Writes tests/data/smollm2-slice.gguf: a few rows of a real model, byte for byte, with one of its norms.

Needs weights/ (scripts/fetch-weights.sh) and nothing but Python's own library."""

import pathlib
import struct

ROOT = pathlib.Path(__file__).parent.parent
MODEL = ROOT / "weights" / "SmolLM2-135M-Instruct.Q4_1.gguf"
SLICE = ROOT / "tests" / "data" / "smollm2-slice.gguf"

MATRIX, ROWS = "blk.0.attn_k.weight", 96
NORM = "blk.0.attn_norm.weight"
F32, Q4_1 = 0, 3
ALIGNMENT = 32


class Reader:
    """A position in a GGUF file."""

    SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, code):
        (value,) = struct.unpack_from("<" + code, self.data, self.at)
        self.at += struct.calcsize("<" + code)
        return value

    def text(self):
        length = self.number("Q")
        self.at += length
        return self.data[self.at - length : self.at].decode()

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            inner, count = self.number("I"), self.number("Q")
            return [self.value(inner) for _ in range(count)]
        return self.number(self.SCALARS[kind])


def read(data):
    """The tensors of a file: name to (dims, type, offset in the file)."""
    r = Reader(data)
    assert data[:4] == b"GGUF"
    r.at = 4
    assert r.number("I") == 3
    tensors, pairs = r.number("Q"), r.number("Q")
    values = {}
    for _ in range(pairs):
        key = r.text()
        values[key] = r.value(r.number("I"))
    described = {}
    for _ in range(tensors):
        name = r.text()
        dims = [r.number("Q") for _ in range(r.number("I"))]
        described[name] = (dims, r.number("I"), r.number("Q"))
    alignment = values.get("general.alignment", 32)
    start = -(-r.at // alignment) * alignment
    return {name: (dims, kind, start + offset) for name, (dims, kind, offset) in described.items()}


def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def pair(key, value):
    return text(key) + struct.pack("<I", 8) + text(value)


def write(pairs, tensors):
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs))
    head += b"".join(pair(k, v) for k, v in pairs)
    data = b""
    for name, dims, kind, content in tensors:
        head += text(name) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims)
        head += struct.pack("<IQ", kind, len(data))
        data += content + bytes(-len(content) % ALIGNMENT)
    return head + bytes(-len(head) % ALIGNMENT) + data


def main():
    data = MODEL.read_bytes()
    tensors = read(data)
    (cols, _), kind, at = tensors[MATRIX]
    assert kind == Q4_1 and cols % 32 == 0
    matrix = data[at : at + ROWS * cols // 32 * 20]
    (width,), kind, at = tensors[NORM]
    assert kind == F32
    norm = data[at : at + 4 * width]
    pairs = [
        ("general.architecture", "llama"),
        ("general.name", "A slice of SmolLM2-135M-Instruct"),
        ("general.license", "apache-2.0"),
        ("general.source.url", "huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct"),
    ]
    SLICE.write_bytes(write(pairs, [(MATRIX, [cols, ROWS], Q4_1, matrix), (NORM, [width], F32, norm)]))
    print(f"{SLICE.relative_to(ROOT)}: {SLICE.stat().st_size} bytes")


main()
