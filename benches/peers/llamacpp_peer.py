"""llama.cpp as a peer of the benchmark: a graph of one matrix product on ggml's CPU backend, called through ctypes.

The shared libraries come from a package of prebuilt binaries, which has the CPU backend compiled for many kinds of processors;
ggml loads the one that suits this machine best. Weights are where llama.cpp would put them: in the first of the backend's extra
buffer types that takes them (`CPU_REPACK` interleaves rows), else as they are. Names that end in `_plain` leave them as they are
though there is such a buffer type. Quantising the activations is part of the product.
"""

import ctypes
import json
import re
import time
from ctypes import POINTER, c_bool, c_char_p, c_float, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path

import protocol
from protocol import Unsupported

try:
    import numpy as np
except ImportError as why:
    protocol.not_installed(why)

PACKAGE = Path(__file__).resolve().parents[2] / "target/peers/llamacpp/package"

# Name of the format: number of the type in ggml.
TYPES = {
    "f32": 0,
    "q4_0": 2,
    "q8_0": 8,
    "q2_k": 10,
    "q3_k": 11,
    "q4_k": 12,
    "q5_k": 13,
    "q6_k": 14,
    "iq4_nl": 20,
    "tq1_0": 34,
    "tq2_0": 35,
    "mxfp4": 39,
    "nvfp4": 40,
    "q1_0": 41,
}
F32 = TYPES["f32"]
PLAIN = "_plain"

# Rows that are quantised; copies of the weights are choices of them, since quantising takes long.
POOL = 256

# How far results may be from those of decoded weights and f32 activations, as a share of their size: activations are rounded to
# bytes.
TOLERANCE = 0.02

# More than `struct ggml_threadpool_params` takes.
THREADPOOL_PARAMS = 4096


class InitParams(ctypes.Structure):
    """`struct ggml_init_params`."""

    _fields_ = [("mem_size", c_size_t), ("mem_buffer", c_void_p), ("no_alloc", c_bool)]


class TypeTraits(ctypes.Structure):
    """`struct ggml_type_traits`."""

    _fields_ = [
        ("type_name", c_char_p),
        ("blck_size", c_int64),
        ("blck_size_interleave", c_int64),
        ("type_size", c_size_t),
        ("is_quantized", c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, c_void_p, c_void_p, c_int64)),
        ("from_float_ref", c_void_p),
    ]


# What is called: results and arguments.
BASE = {
    "ggml_backend_alloc_ctx_tensors_from_buft": (c_void_p, [c_void_p, c_void_p]),
    "ggml_backend_buffer_free": (None, [c_void_p]),
    "ggml_backend_buffer_get_base": (c_void_p, [c_void_p]),
    "ggml_backend_buft_alloc_buffer": (c_void_p, [c_void_p, c_size_t]),
    "ggml_backend_buft_get_alloc_size": (c_size_t, [c_void_p, c_void_p]),
    "ggml_backend_buft_name": (c_char_p, [c_void_p]),
    "ggml_backend_dev_backend_reg": (c_void_p, [c_void_p]),
    "ggml_backend_dev_buffer_type": (c_void_p, [c_void_p]),
    "ggml_backend_dev_init": (c_void_p, [c_void_p, c_char_p]),
    "ggml_backend_dev_supports_op": (c_bool, [c_void_p, c_void_p]),
    "ggml_backend_free": (None, [c_void_p]),
    "ggml_backend_graph_compute": (c_int, [c_void_p, c_void_p]),
    "ggml_backend_reg_get_proc_address": (c_void_p, [c_void_p, c_char_p]),
    "ggml_backend_tensor_alloc": (c_int, [c_void_p, c_void_p, c_void_p]),
    "ggml_backend_tensor_get": (None, [c_void_p, c_void_p, c_size_t, c_size_t]),
    "ggml_backend_tensor_set": (None, [c_void_p, c_void_p, c_size_t, c_size_t]),
    "ggml_build_forward_expand": (None, [c_void_p, c_void_p]),
    "ggml_free": (None, [c_void_p]),
    "ggml_get_type_traits": (POINTER(TypeTraits), [c_int]),
    "ggml_graph_overhead": (c_size_t, []),
    "ggml_init": (c_void_p, [InitParams]),
    "ggml_log_set": (None, [c_void_p, c_void_p]),
    "ggml_mul_mat": (c_void_p, [c_void_p, c_void_p, c_void_p]),
    "ggml_new_graph": (c_void_p, [c_void_p]),
    "ggml_new_tensor_2d": (c_void_p, [c_void_p, c_int, c_int64, c_int64]),
    "ggml_quantize_chunk": (
        c_size_t,
        [c_int, c_void_p, c_void_p, c_int64, c_int64, c_int64, c_void_p],
    ),
    "ggml_row_size": (c_size_t, [c_int, c_int64]),
    "ggml_tensor_overhead": (c_size_t, []),
    "ggml_threadpool_params_init": (None, [c_void_p, c_int]),
}
LOADER = {
    "ggml_backend_dev_by_name": (c_void_p, [c_char_p]),
    "ggml_backend_load_all_from_path": (None, [c_char_p]),
}
CPU = {
    "ggml_backend_cpu_set_n_threads": (None, [c_void_p, c_int]),
    "ggml_backend_cpu_set_threadpool": (None, [c_void_p, c_void_p]),
    "ggml_threadpool_free": (None, [c_void_p]),
    "ggml_threadpool_new": (c_void_p, [c_void_p]),
    "ggml_threadpool_pause": (None, [c_void_p]),
}

LogCallback = ctypes.CFUNCTYPE(None, c_int, c_char_p, c_void_p)


def library(path, functions):
    """A shared library whose functions have their types."""
    loaded = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    for name, (result, arguments) in functions.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded


def backend_library():
    """The CPU backend that ggml has loaded."""
    found = re.search(r"\S*/libggml-cpu-\w+\.so", Path("/proc/self/maps").read_text())
    if not found:
        protocol.not_installed("no CPU backend of ggml loads")
    return Path(found[0])


class Ggml:
    """The libraries, and the CPU as ggml's device."""

    def __init__(self):
        binaries = PACKAGE / "bins/linux-x64"
        if not (binaries / "libggml-base.so").is_file():
            protocol.not_installed(f"{binaries} has no libraries of llama.cpp")
        self.base = library(binaries / "libggml-base.so", BASE)
        # Nothing is logged. The function has to live as long as the library.
        self.quiet = LogCallback(lambda level, text, data: None)
        self.base.ggml_log_set(self.quiet, None)
        loader = library(next(binaries.glob("libggml.*so")), LOADER)
        loader.ggml_backend_load_all_from_path(str(binaries).encode())
        path = backend_library()
        self.variant = path.stem.removeprefix("libggml-cpu-")
        self.cpu = library(path, CPU)
        self.device = loader.ggml_backend_dev_by_name(b"CPU")
        self.plain = self.base.ggml_backend_dev_buffer_type(self.device)
        self.extra = self.extra_buffer_types()

    def extra_buffer_types(self):
        """Buffer types that weights are packed in, the preferred first."""
        registered = self.base.ggml_backend_dev_backend_reg(self.device)
        name = b"ggml_backend_dev_get_extra_bufts"
        address = self.base.ggml_backend_reg_get_proc_address(registered, name)
        if not address:
            return []
        types = ctypes.CFUNCTYPE(POINTER(c_void_p), c_void_p)(address)(self.device)
        found = []
        while types[len(found)]:
            found.append(types[len(found)])
        return found

    def context(self, tensors, graphs=0):
        """A context for the descriptions of some tensors and graphs, without their data."""
        overhead = self.base.ggml_tensor_overhead(), self.base.ggml_graph_overhead()
        size = tensors * overhead[0] + graphs * overhead[1]
        return self.base.ggml_init(InitParams(size, None, True))

    def quantised(self, kind, values):
        """Rows of values as blocks of a type."""
        rows, k = values.shape
        blocks = np.empty((rows, self.base.ggml_row_size(kind, k)), np.uint8)
        self.base.ggml_quantize_chunk(
            kind, values.ctypes.data, blocks.ctypes.data, 0, rows, k, None
        )
        return blocks

    def decoded(self, kind, blocks, k):
        """The values of rows of blocks."""
        if kind == F32:
            return blocks.view(np.float32)
        values = np.empty((len(blocks), k), np.float32)
        traits = self.base.ggml_get_type_traits(kind).contents
        traits.to_float(blocks.ctypes.data, values.ctypes.data, values.size)
        return values

    def takes(self, buffer_type, kind, n, k):
        """Whether the backend multiplies such weights from such a buffer."""
        context = self.context(3)
        weights = self.base.ggml_new_tensor_2d(context, kind, k, n)
        x = self.base.ggml_new_tensor_2d(context, F32, k, 1)
        # Products are asked about when their weights have a place.
        size = self.base.ggml_backend_buft_get_alloc_size(buffer_type, weights)
        buffer = self.base.ggml_backend_buft_alloc_buffer(buffer_type, size)
        base = self.base.ggml_backend_buffer_get_base(buffer)
        self.base.ggml_backend_tensor_alloc(buffer, weights, base)
        product = self.base.ggml_mul_mat(context, weights, x)
        taken = self.base.ggml_backend_dev_supports_op(self.device, product)
        self.base.ggml_backend_buffer_free(buffer)
        self.base.ggml_free(context)
        return taken

    def place(self, kind, plain, n, k):
        """The buffer type of weights."""
        packed = [t for t in self.extra if self.takes(t, kind, n, k)]
        if plain and not packed:
            raise Unsupported("it is plain under its own name")
        return packed[0] if packed and not plain else self.plain


class Threads:
    """A backend and its threads, which sleep while nothing is run."""

    def __init__(self, ggml, threads):
        self.ggml = ggml
        self.backend = ggml.base.ggml_backend_dev_init(ggml.device, None)
        parameters = ctypes.create_string_buffer(THREADPOOL_PARAMS)
        ggml.base.ggml_threadpool_params_init(parameters, threads)
        self.pool = ggml.cpu.ggml_threadpool_new(parameters)
        ggml.cpu.ggml_backend_cpu_set_n_threads(self.backend, threads)
        ggml.cpu.ggml_backend_cpu_set_threadpool(self.backend, self.pool)

    def seconds(self, graph):
        """How long a graph takes."""
        compute = self.ggml.base.ggml_backend_graph_compute
        start = time.perf_counter_ns()
        status = compute(self.backend, graph)
        taken = time.perf_counter_ns() - start
        if status != 0:
            raise RuntimeError(f"ggml_backend_graph_compute returns {status}")
        return taken / 1e9

    def rest(self):
        self.ggml.cpu.ggml_threadpool_pause(self.pool)

    def free(self):
        self.ggml.base.ggml_backend_free(self.backend)
        self.ggml.cpu.ggml_threadpool_free(self.pool)


class Prepared:
    """A linear layer with copies of its weights, and a graph for each."""

    def __init__(self, ggml, order):
        self.ggml = ggml
        name = order["format"]
        kind = TYPES.get(name.removesuffix(PLAIN))
        if kind is None:
            raise Unsupported(f"no format {name}")
        self.n, self.k, self.rows = order["n"], order["k"], order["rows"]
        block = ggml.base.ggml_get_type_traits(kind).contents.blck_size
        if self.k % block:
            raise Unsupported(f"k is no multiple of {block}")
        self.kind = kind
        self.place = ggml.place(kind, name.endswith(PLAIN), self.n, self.k)
        self.next = 0
        rng = np.random.default_rng(1)
        self.make_weights(rng, order["copies"])
        self.make_graphs(rng)
        self.threads = Threads(ggml, order["threads"])
        self.verify()

    @property
    def described(self):
        place = self.ggml.base.ggml_backend_buft_name(self.place).decode()
        kind = self.ggml.base.ggml_get_type_traits(self.kind).contents.type_name.decode()
        return {
            "what": f"{place} {kind}, {self.ggml.variant}",
            "bits": self.ggml.base.ggml_row_size(self.kind, self.k) * 8 / self.k,
            "activations": "f32" if self.kind == F32 else "int8",
        }

    def make_weights(self, rng, copies):
        """Copies of the weights, in buffers of their own: rows of a pool, chosen anew for each."""
        base = self.ggml.base
        values = rng.standard_normal((min(self.n, POOL), self.k), dtype=np.float32)
        self.pool = self.ggml.quantised(self.kind, values)
        self.choices = [rng.integers(0, len(self.pool), self.n) for _ in range(copies)]
        self.context = self.ggml.context(copies)
        self.weights = [
            base.ggml_new_tensor_2d(self.context, self.kind, self.k, self.n) for _ in range(copies)
        ]
        self.buffer = base.ggml_backend_alloc_ctx_tensors_from_buft(self.context, self.place)
        for tensor, choice in zip(self.weights, self.choices):
            blocks = self.pool[choice]
            base.ggml_backend_tensor_set(tensor, blocks.ctypes.data, 0, blocks.nbytes)

    def make_graphs(self, rng):
        """A product for each copy: all read the same activations and write the same results."""
        base, copies = self.ggml.base, len(self.weights)
        self.products = self.ggml.context(1 + copies, copies)
        x = base.ggml_new_tensor_2d(self.products, F32, self.k, self.rows)
        self.x = rng.standard_normal((self.rows, self.k), dtype=np.float32)
        self.inputs = self.allocated(self.x.nbytes)
        self.outputs = self.allocated(4 * self.rows * self.n)
        self.put(self.inputs, x)
        base.ggml_backend_tensor_set(x, self.x.ctypes.data, 0, self.x.nbytes)
        self.graphs = []
        for tensor in self.weights:
            self.y = base.ggml_mul_mat(self.products, tensor, x)
            self.put(self.outputs, self.y)
            graph = base.ggml_new_graph(self.products)
            base.ggml_build_forward_expand(graph, self.y)
            self.graphs.append(graph)

    def allocated(self, size):
        return self.ggml.base.ggml_backend_buft_alloc_buffer(self.ggml.plain, size)

    def put(self, buffer, tensor):
        """Gives a tensor the start of a buffer."""
        start = self.ggml.base.ggml_backend_buffer_get_base(buffer)
        self.ggml.base.ggml_backend_tensor_alloc(buffer, tensor, start)

    def verify(self):
        """Compares a call with decoded weights."""
        choice = self.choices[self.next % len(self.choices)]
        self.run(1)
        results = np.empty((self.rows, self.n), np.float32)
        self.ggml.base.ggml_backend_tensor_get(self.y, results.ctypes.data, 0, results.nbytes)
        values = self.ggml.decoded(self.kind, self.pool, self.k)
        expected = (self.x @ values.T)[:, choice]
        apart = np.linalg.norm(results - expected) / np.linalg.norm(expected)
        if not apart < TOLERANCE:
            raise RuntimeError(f"results are {apart:.3} of their size from the expected ones")

    def run(self, calls):
        """Seconds of calls, each on the next copy."""
        seconds = []
        for _ in range(calls):
            graph = self.graphs[self.next % len(self.graphs)]
            self.next += 1
            seconds.append(self.threads.seconds(graph))
        self.threads.rest()
        return seconds

    def free(self):
        self.threads.free()
        for buffer in (self.buffer, self.inputs, self.outputs):
            self.ggml.base.ggml_backend_buffer_free(buffer)
        for context in (self.context, self.products):
            self.ggml.base.ggml_free(context)


def version():
    """The releases of llama.cpp and of the package."""
    release = json.loads((PACKAGE / "bins/linux-x64/_nlcBuildMetadata.json").read_text())
    package = json.loads((PACKAGE / "package.json").read_text())
    return f"{release['buildOptions']['llamaCpp']['release']} ({package['version']})"


def formats(ggml):
    """All names; those in `_plain` where this machine has another buffer type for the type."""

    def packs(kind):
        return any(ggml.takes(buffer_type, kind, 256, 256) for buffer_type in ggml.extra)

    return [*TYPES, *(name + PLAIN for name, kind in TYPES.items() if packs(kind))]


def main():
    protocol.use_large_pages()
    ggml = Ggml()
    protocol.say({"name": "llama.cpp", "version": version(), "formats": formats(ggml)})
    protocol.serve(lambda order: Prepared(ggml, order))


main()
