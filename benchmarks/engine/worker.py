"""Engines as child processes that answer one JSON line for each JSON line.

Each engine lives in its own process, so that its memory can be measured and no engine's allocator, thread pool or
garbage collector disturbs another. All are pinned to the same core: only the one that was asked runs.
"""

import json
import os
import subprocess
import sys
import pathlib

PEER = pathlib.Path(__file__).with_name("peer.py")


class WorkerError(RuntimeError):
    """An engine answered with an error, or died."""


class Worker:
    """One engine. `core` None leaves it on all cores (for building)."""

    def __init__(self, name, command, core):
        self.name = name
        environment = dict(os.environ)
        if core is not None:
            command = ["taskset", "-c", str(core), *command]
            environment |= {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, operation, **arguments):
        try:
            self.process.stdin.write(json.dumps({"op": operation, **arguments}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the missing answer says more
        line = self.process.stdout.readline()
        if not line:
            raise WorkerError(f"{self.name} ended with status {self.process.wait()} while asked {operation}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{self.name} could not {operation}: {answer['error']}")
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def peer(name, core):
    """A worker with one of the Python engines: faiss, hnswlib, usearch."""
    return Worker(name, [sys.executable, str(PEER), name], core)


def medindex(core):
    """A worker with our engine; run.sh names the program in MEDINDEX_BENCH."""
    return Worker("medindex", [os.environ["MEDINDEX_BENCH"], "engine"], core)
