"""What the peers in Python share: the lines that they hear and say (`benches/README.md` has the protocol), the pages of their
memory, and what they say when a package is missing.
"""

import json
import os
import sys

# Makes glibc ask for pages of 2 MiB for pieces of memory of more than 1 MiB, as the benchmark does for its own weights.
LARGE_PAGES = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1048576"


class Unsupported(Exception):
    """Something that a peer does not have."""


def not_installed(why):
    """Ends a peer that lacks a package."""
    sys.exit(f"{why}: run benches/peers/install.sh")


def use_large_pages():
    """Starts this program again if its memory is on small pages: a process has to be started with the setting."""
    if "GLIBC_TUNABLES" not in os.environ:
        environment = os.environ | {"GLIBC_TUNABLES": LARGE_PAGES}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def say(answer):
    print(json.dumps(answer), flush=True)


def serve(prepare):
    """Answers requests until there are no more.

    `prepare` makes something of an order; it has `described` (what it is, bits, activations), `run` (seconds of so many calls)
    and `free`. Its number is the order's `handle`, if there is one, or the next.
    """
    prepared = {}
    numbers = 0
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "prepare" in request:
                order = request["prepare"]
                handle = order.get("handle", numbers)
                ready = prepare(order)
                prepared[handle] = ready
                numbers += 1
                say({"handle": handle, **ready.described})
            elif "run" in request:
                run = request["run"]
                say({"seconds": prepared[run["handle"]].run(run["calls"])})
            elif "drop" in request:
                dropped = prepared.pop(request["drop"], None)
                if dropped is not None:
                    dropped.free()
        except Unsupported as why:
            say({"unsupported": str(why)})
        except Exception as why:  # What a library refuses is told, and the next request is heard.
            kind = "unsupported" if "prepare" in request else "error"
            lines = str(why).splitlines() or [type(why).__name__]
            if "drop" not in request:
                say({kind: lines[0][:300]})
