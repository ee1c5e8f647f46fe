"""The engine benchmark: scan speed and retrieval against FAISS, hnswlib and usearch. See docs/benchmarks.md."""

import argparse
import json
import os
import pathlib
import time

import numpy as np

import machine
import plots
import report
import retrieval
import scan


class Data:
    """The vectors, queries and exact neighbours that dataset.py made."""

    def __init__(self, folder):
        self.folder = folder
        self.about = json.loads((folder / "dataset.json").read_text())
        self.count, self.dimension = self.about["count"], self.about["dimension"]
        self.base = np.memmap(folder / "base.f32", np.float32, "r").reshape(-1, self.dimension)
        self.queries = np.fromfile(folder / "queries.f32", np.float32).reshape(-1, self.dimension)
        scores = np.fromfile(folder / "truth.f32", np.float32).reshape(-1, self.about["truth"])
        self.tenth = scores[:, retrieval.K - 1]


def log(message):
    print(f"[{time.strftime('%H:%M:%S')}] {message}", flush=True)


def write(results, out):
    """Figures, plots and report of what was measured so far; returns the report."""
    (out / "engine.json").write_text(json.dumps(results, indent=1) + "\n")
    plots.draw(results, out)
    text = report.write(results)
    (out / "engine.md").write_text(text)
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder that dataset.py wrote")
    parser.add_argument("--cache", type=pathlib.Path, required=True, help="folder for built indexes")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the report")
    parser.add_argument("--core", type=int, default=os.cpu_count() - 1, help="the core that everything runs on")
    parser.add_argument("--builders", type=int, default=os.cpu_count(), help="indexes built at a time")
    parser.add_argument("--quick", action="store_true", help="fewer vectors, engines and rounds")
    parser.add_argument("--only", choices=("build", "scan", "retrieval"), help="one part; others keep their last figures")
    parser.add_argument("--engines", type=lambda text: text.split(";"), help="parts of names of engines, with semicolons between; all when left out")
    arguments = parser.parse_args()
    start = time.monotonic()
    data = Data(arguments.data)
    for folder in (arguments.cache, arguments.out):
        folder.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "engine.json"
    results = json.loads(path.read_text()) if arguments.only and path.exists() else {}
    results |= {"machine": machine.describe(), "data": data.about, "quick": arguments.quick}
    chosen = retrieval.engines(data.count, arguments.quick, arguments.engines)
    if arguments.only == "build":
        retrieval.build_all(chosen, data, arguments.cache, arguments.builders, log)
        return
    if arguments.only in (None, "scan"):
        results["scan"] = scan.measure(data, arguments.cache, arguments.core, arguments.quick, log)
        write(results, arguments.out)
    if arguments.only in (None, "retrieval"):
        results["retrieval"] = retrieval.measure(
            chosen, data, arguments.cache, arguments.core, arguments.quick, log, arguments.builders
        )
    results["minutes"] = (time.monotonic() - start) / 60
    print(write(results, arguments.out))


if __name__ == "__main__":
    main()
