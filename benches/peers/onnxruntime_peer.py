"""ONNX Runtime as a peer of the benchmark: MatMulNBits with int8 activations, MatMulBnb4, and MatMul in f32.

Each copy of the weights is a session of its own, since a run of a session runs all nodes; the sessions share the threads of the
process, whose number is fixed. So there is a process for each number of threads, and this one passes lines on. Every copy has
other random bytes: ONNX Runtime keeps weights of equal bytes once, and calls that read them again and again would come from
caches.
"""

import json
import subprocess
import sys
import time

import protocol
from protocol import Unsupported

try:
    import numpy as np
    import onnx
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper
except ImportError as why:
    protocol.not_installed(why)

# Name of the format: bits and block of MatMulNBits.
INTEGERS = {
    "int4_32": (4, 32),
    "int4_128": (4, 128),
    "int2_32": (2, 32),
    "int2_128": (2, 128),
    "int8_32": (8, 32),
    "int8_128": (8, 128),
}
FORMATS = [*INTEGERS, "nf4_64", "f32"]

# accuracy_level of MatMulNBits: activations are quantised to int8.
INT8 = 4


def weights(rng, form, n, k):
    """The operator, its attributes, and the bytes of one copy of the weights."""
    if form == "f32":
        # Transposed: MatMul takes columns first.
        return "MatMul", "", {}, [rng.standard_normal((k, n), dtype=np.float32)]
    if form == "nf4_64":
        codes = rng.integers(0, 256, n * k // 2, dtype=np.uint8)
        scales = rng.random(n * k // 64, dtype=np.float32) + 0.5
        attributes = {"K": k, "N": n, "block_size": 64, "quant_type": 1}
        return "MatMulBnb4", "com.microsoft", attributes, [codes, scales]
    bits, block = INTEGERS[form]
    blocks = -(-k // block)
    codes = rng.integers(0, 256, (n, blocks, block * bits // 8), dtype=np.uint8)
    scales = rng.random((n, blocks), dtype=np.float32) + 0.5
    attributes = {"K": k, "N": n, "bits": bits, "block_size": block, "accuracy_level": INT8}
    return "MatMulNBits", "com.microsoft", attributes, [codes, scales]


def described(form):
    """The kernel in words, bits of a weight, and the class of activations."""
    if form == "f32":
        return "MatMul", 32.0, "f32"
    if form == "nf4_64":
        return "MatMulBnb4 NF4 block 64", 4.5, "f32"
    bits, block = INTEGERS[form]
    return f"MatMulNBits {bits} bits block {block}, accuracy level {INT8}", bits + 32 / block, "int8"


class Prepared:
    """A linear layer with copies of its weights, each in a session of its own."""

    def __init__(self, order):
        form, n, k, rows = (order[key] for key in ("format", "n", "k", "rows"))
        self.form = form
        if form not in FORMATS:
            raise Unsupported(f"no format {form}")
        if form == "nf4_64" and n * k % 64:
            raise Unsupported("blocks of 64 do not divide the weights")
        rng = np.random.default_rng(1)
        # All copies read the same activations and write the same results.
        self.x = rng.standard_normal((rows, k), dtype=np.float32)
        self.y = np.empty((rows, n), dtype=np.float32)
        self.copies = [self.copy(rng, form, n, k) for _ in range(order["copies"])]
        self.next = 0
        self.call()

    def copy(self, rng, form, n, k):
        """A session with weights of its own, and what it is called with."""
        operator, domain, attributes, tensors = weights(rng, form, n, k)
        names = [f"w{at}" for at in range(len(tensors))]
        initializers = [numpy_helper.from_array(t, name) for t, name in zip(tensors, names)]
        node = helper.make_node(operator, ["x", *names], ["y"], domain=domain, **attributes)
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, k])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, n])
        graph = helper.make_graph([node], "linear", [x], [y], initializers)
        imports = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=10)
        options = ort.SessionOptions()
        options.use_per_session_threads = False
        options.log_severity_level = 3
        session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        binding = session.io_binding()
        f32 = np.float32
        binding.bind_input("x", "cpu", 0, f32, self.x.shape, self.x.ctypes.data)
        binding.bind_output("y", "cpu", 0, f32, self.y.shape, self.y.ctypes.data)
        return session, binding

    @property
    def described(self):
        what, bits, activations = described(self.form)
        return {"what": what, "bits": bits, "activations": activations}

    def run(self, calls):
        """Seconds of calls, each on the next copy."""
        return [self.call() for _ in range(calls)]

    def free(self):
        self.copies.clear()

    def call(self):
        """Seconds of a call on the next copy."""
        session, binding = self.copies[self.next % len(self.copies)]
        self.next += 1
        start = time.perf_counter()
        session.run_with_iobinding(binding)
        return time.perf_counter() - start


def measure(threads):
    """The process that measures: handles are the numbers of what was prepared."""
    ort.set_global_thread_pool_sizes(threads, 1)
    ort.set_default_logger_severity(4)
    protocol.serve(Prepared)


def process(threads):
    """A process that measures with so many threads."""
    command = [sys.executable, __file__, str(threads)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def main():
    protocol.use_large_pages()
    protocol.say({"name": "ONNX Runtime", "version": ort.__version__, "formats": FORMATS})
    processes, owners = {}, {}
    for line in sys.stdin:
        request = json.loads(line)
        if "prepare" in request:
            order = request["prepare"]
            order["handle"] = len(owners)
            threads = order["threads"]
            if threads not in processes:
                processes[threads] = process(threads)
            owner = owners[order["handle"]] = processes[threads]
        elif "run" in request:
            owner = owners[request["run"]["handle"]]
        else:
            owner = owners[request["drop"]]
        owner.stdin.write(json.dumps(request) + "\n")
        owner.stdin.flush()
        if "drop" not in request:
            print(owner.stdout.readline(), end="", flush=True)


if len(sys.argv) > 1:
    measure(int(sys.argv[1]))
else:
    main()
