"""OpenVINO as a peer of the benchmark: MatMul on its CPU plugin, with weights that a subgraph of Convert, Subtract, Multiply and
Reshape decodes, which the plugin makes a part of the product.

Integers are multiplied by activations that the plugin quantises to bytes in groups of 32, where it has such a kernel; other
weights by f32, or by bf16 if the name ends in `_bf16`. Each copy of the weights is a model of its own, compiled for the number of
threads asked for. The plugin keeps scales as f32, whatever the model says, and so their bits are counted.
"""

import time

import protocol
from protocol import Unsupported

try:
    import numpy as np
    import openvino as ov
    from openvino import Type
    from openvino import opset15 as op
except ImportError as why:
    protocol.not_installed(why)

# Values of codes, as the documentation of the types has them.
INT2 = np.arange(4, dtype=np.float32)
INT4 = np.array([*range(8), *range(-8, 0)], np.float32)
INT8 = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float32)
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
NF4 = np.array(
    "-1 -0.6961928 -0.52507305 -0.39491749 -0.28444138 -0.18477343 -0.09105004 0 0.0795803 0.1609302 0.24611230 "
    "0.33791524 0.44070983 0.562617 0.72295684 1".split(),
    np.float32,
)

# Name of the format: type of the codes, their bits and values, zero point, block, and type of the scales.
FORMATS = {
    "int2_32": ("u2", 2, INT2, 2, 32, "f32"),
    "int2_128": ("u2", 2, INT2, 2, 128, "f32"),
    "int4_32": ("i4", 4, INT4, 0, 32, "f32"),
    "int4_128": ("i4", 4, INT4, 0, 128, "f32"),
    "int8_32": ("i8", 8, INT8, 0, 32, "f32"),
    "int8_128": ("i8", 8, INT8, 0, 128, "f32"),
    "nf4_64": ("nf4", 4, NF4, 0, 64, "f32"),
    "fp4_32": ("f4e2m1", 4, E2M1, 0, 32, "f32"),
    "mxfp4": ("f4e2m1", 4, E2M1, 0, 32, "f8e8m0"),
}
BF16 = "_bf16"
HALF = [name + BF16 for name in ("nf4_64", "fp4_32", "mxfp4")]

# Activations that share a scale where they are quantised.
GROUP = 32

# How far results may be from those of decoded weights, as a share of their size, where activations are multiplied as f32, and
# otherwise.
EXACT, TOLERANCE = 1e-4, 0.02

# Outputs that are compared.
COMPARED = 64


def tensor(array, shape, kind):
    return ov.Tensor(array, shape, getattr(Type, kind))


class Blocks:
    """Weights as random codes in blocks, each with a random scale."""

    def __init__(self, rng, form, n, k):
        self.form, self.n, self.k = form, n, k
        kind, bits, _, self.zero, self.block, self.scale_kind = form
        self.codes = rng.integers(0, 256, n * k * bits // 8, dtype=np.uint8)
        self.zeros = np.array([self.zero], np.uint8)
        blocks = n * k // self.block
        if self.scale_kind == "f32":
            self.scales = rng.random(blocks, dtype=np.float32) + 0.5
        else:
            self.scales = rng.integers(124, 130, blocks, dtype=np.uint8)

    def node(self):
        """The subgraph that decodes them. It reads the arrays of this object, which has to live as long."""
        kind = self.form[0]
        blocks = self.k // self.block
        shape = [self.n, blocks, self.block]
        values = op.convert(op.constant(tensor(self.codes, shape, kind)), "f32")
        if self.zero:
            zero = op.constant(tensor(self.zeros, [1, 1, 1], kind))
            values = op.subtract(values, op.convert(zero, "f32"))
        scales = op.constant(tensor(self.scales, [self.n, blocks, 1], self.scale_kind))
        if self.scale_kind != "f32":
            scales = op.convert(scales, "f32")
        rows = op.constant(np.array([self.n, self.k], np.int64))
        return op.reshape(op.multiply(values, scales), rows, False)

    def decoded(self, rows):
        """The values of the first rows."""
        _, bits, values, zero, block, _ = self.form
        codes = self.codes[: rows * self.k * bits // 8, None]
        codes = codes >> np.arange(0, 8, bits, dtype=np.uint8) & np.uint8(2**bits - 1)
        scales = self.scales[: rows * self.k // block, None]
        if self.scale_kind != "f32":
            scales = np.exp2(scales.astype(np.float32) - 127)
        return ((values[codes].reshape(-1, block) - zero) * scales).reshape(rows, self.k)


class Floats:
    """Weights as f32."""

    def __init__(self, rng, n, k):
        self.values = rng.standard_normal((n, k), dtype=np.float32)

    def node(self):
        return op.constant(self.values)

    def decoded(self, rows):
        return self.values[:rows]


class Prepared:
    """A linear layer with copies of its weights, each in a compiled model of its own."""

    def __init__(self, core, order):
        name, n, k = (order[key] for key in ("format", "n", "k"))
        self.core, self.threads = core, order["threads"]
        self.hint = "bf16" if name in HALF else "f32"
        self.form = FORMATS.get(name.removesuffix(BF16))
        if name != "f32" and name not in FORMATS and name not in HALF:
            raise Unsupported(f"no format {name}")
        if self.form and k % self.form[4]:
            raise Unsupported(f"k is no multiple of {self.form[4]}")
        rng = np.random.default_rng(1)
        # All copies read the same activations and write the same results.
        self.x = rng.standard_normal((order["rows"], k), dtype=np.float32)
        self.y = np.empty((order["rows"], n), np.float32)
        self.weights, self.requests = [], []
        for _ in range(order["copies"]):
            weights = Blocks(rng, self.form, n, k) if self.form else Floats(rng, n, k)
            self.weights.append(weights)
            self.requests.append(self.request(weights))
        self.next = 0
        self.activations = self.verified()

    def request(self, weights):
        """What is called for a copy."""
        x = op.parameter(self.x.shape, Type.f32)
        product = op.matmul(x, weights.node(), False, True)
        settings = {
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP,
            "INFERENCE_NUM_THREADS": self.threads,
            "INFERENCE_PRECISION_HINT": self.hint,
            "NUM_STREAMS": 1,
        }
        compiled = self.core.compile_model(ov.Model([product], [x]), "CPU", settings)
        request = compiled.create_infer_request()
        request.set_input_tensor(ov.Tensor(self.x, shared_memory=True))
        request.set_output_tensor(ov.Tensor(self.y, shared_memory=True))
        return request

    def verified(self):
        """Calls every copy and compares the last with decoded weights; the class of the activations, as the results tell it."""
        self.run(len(self.requests))
        weights = self.weights[-1]
        expected = self.x @ weights.decoded(min(COMPARED, self.y.shape[1])).T
        results = self.y[:, : expected.shape[1]]
        apart = np.linalg.norm(results - expected) / np.linalg.norm(expected)
        if not apart < TOLERANCE:
            raise RuntimeError(f"results are {apart:.3} of their size from the expected ones")
        if self.hint == "bf16":
            return "bf16"
        return "f32" if apart < EXACT else "int8"

    @property
    def described(self):
        if self.form is None:
            return {"what": "MatMul", "bits": 32.0, "activations": self.activations}
        kind, bits, _, _, block, scales = self.form
        group = f", activations in groups of {GROUP}" if self.activations == "int8" else ""
        return {
            "what": f"MatMul {kind} block {block}, scales {scales}{group}",
            "bits": bits + 32 / block,
            "activations": self.activations,
        }

    def run(self, calls):
        """Seconds of calls, each on the next copy."""
        seconds = []
        for _ in range(calls):
            request = self.requests[self.next % len(self.requests)]
            self.next += 1
            start = time.perf_counter_ns()
            request.infer(share_outputs=True)
            seconds.append((time.perf_counter_ns() - start) / 1e9)
        return seconds

    def free(self):
        """Models before what they read."""
        self.requests.clear()
        self.weights.clear()


def main():
    protocol.use_large_pages()
    core = ov.Core()
    release = ov.__version__.split("-")[0]
    protocol.say({"name": "OpenVINO", "version": release, "formats": ["f32", *FORMATS, *HALF]})
    protocol.serve(lambda order: Prepared(core, order))


main()
