"""Retrieval: queries a second at a recall, build time and memory of each engine on the same vectors.

First every setting of an engine is run once, which gives its recall and a rough speed. The settings on the Pareto
front that bracket the recalls of interest are then timed by turns, round after round, all engines in each round.
"""

import bisect
import concurrent.futures
import dataclasses
import itertools
import json
import math
import statistics

import numpy as np

from worker import medindex, peer

K = 10
TARGETS = (0.90, 0.95, 0.99)
BATCHES = (1, 64)
PROBES = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
# Candidates re-ranked for each result wanted.
DEPTHS = (4, 8, 16, 24, 32, 64, 128)
# Inner products this near are equal: what rounding vectors to f16 changes.
TIE = 2e-5
EF = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)


@dataclasses.dataclass(frozen=True)
class Engine:
    """One index: who makes it, how, and which settings it is searched with."""

    name: str
    worker: str
    variant: str
    settings: tuple

    @property
    def file(self):
        return "".join(c if c.isalnum() else "-" for c in f"{self.worker}-{self.variant}").lower()

    def start(self, core):
        return medindex(core) if self.worker == "medindex" else peer(self.worker, core)


def engines(count, quick, wanted=None):
    """The engines of a run; `wanted` are parts of names, all of them for None."""
    lists = 1 << round(math.log2(4 * math.sqrt(count)))
    faiss = tuple({"probes": p, "k_factor": f} for p, f in itertools.product(PROBES, DEPTHS))
    ours = tuple({"probes": p, "rerank": r * K} for p, r in itertools.product(PROBES, DEPTHS))
    flat = tuple({"probes": p} for p in PROBES)
    graph = tuple({"ef": ef} for ef in EF)
    made = [
        Engine("MedIndex PQ64x4", "medindex", f"PQ64x4,IVF{lists}", ours),
        Engine("FAISS IVF,PQ64x4fs + f16", "faiss", f"IVF{lists},PQ64x4fs,Refine(SQfp16)", faiss),
        Engine("FAISS OPQ,IVF,PQ64x4fs + f16", "faiss", f"OPQ64,IVF{lists},PQ64x4fs,Refine(SQfp16)", faiss),
        Engine("FAISS IVF flat f16", "faiss", f"IVF{lists},SQfp16", flat),
        Engine("hnswlib f32", "hnswlib", "M16", graph),
        Engine("usearch f16", "usearch", "f16", graph),
        Engine("usearch i8", "usearch", "i8", graph),
    ]
    made = made[:2] + made[4:6] if quick else made
    return [engine for engine in made if wanted is None or any(part in engine.name for part in wanted)]


def build_all(chosen, data, cache, workers, log):
    """Builds what is not in the cache, `workers` at a time, each on one thread. Returns those that are there."""
    missing = [engine for engine in chosen if not (cache / engine.file).with_suffix(".json").exists()]
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        jobs = {pool.submit(build, engine, data, cache, log): engine for engine in missing}
        for job in concurrent.futures.as_completed(jobs):
            job.result()
    return chosen


def build(engine, data, cache, log):
    log(f"building {engine.name} ({engine.variant})")
    with engine.start("0-1023") as worker:
        worker.ask(
            "build", variant=engine.variant, base=str(data.folder / "base.f32"), count=data.count,
            dimension=data.dimension, out=str(cache / engine.file),
        )  # fmt: skip
    log(f"built {engine.name}")


def measure(chosen, data, cache, core, quick, log, workers):
    build_all(chosen, data, cache, workers, log)
    running = {engine.name: engine.start(core) for engine in chosen}
    try:
        facts = {engine.name: open_index(engine, running[engine.name], data, cache) for engine in chosen}
        for engine in chosen:
            facts[engine.name]["sweep"] = sweep(engine, running[engine.name], data, cache, log)
        time_by_turns(running, facts, 3 if quick else 5, log)
    finally:
        for worker in running.values():
            worker.close()
    for fact in facts.values():
        fact["at"] = {str(batch): speeds_at_targets(fact["timed"], batch) for batch in BATCHES}
    return facts


def open_index(engine, worker, data, cache):
    hello = worker.ask("hello")
    worker.ask("queries", path=str(data.folder / "queries.f32"), dimension=data.dimension)
    opened = worker.ask("open", path=str(cache / engine.file))
    fact = {"variant": engine.variant, "hello": hello, "build": opened["build"]}
    fact["bytes_per_vector"] = opened["bytes"] / data.count
    fact["mapped_per_vector"] = opened.get("mapped", 0) / data.count
    if engine.worker == "medindex":
        fact["status"] = worker.ask("status")["status"]
    return fact


def recall(found, data):
    """Mean share of the ten results whose exact inner product reaches that of the exact tenth, ties included."""
    rows = np.asarray(found)[:, :K]
    products = np.einsum("qd,qkd->qk", data.queries, data.base[np.maximum(rows, 0)])
    reached = (products >= data.tenth[:, None] - TIE) & (rows >= 0)
    return float(reached.mean())


def sweep(engine, worker, data, cache, log):
    """Recall and rough queries a second of every setting; kept in the cache, because recall does not change."""
    index, kept = (cache / engine.file).with_suffix(".json"), (cache / engine.file).with_suffix(".sweep.json")
    if kept.exists() and kept.stat().st_mtime > index.stat().st_mtime:
        points = json.loads(kept.read_text())
        if [point["setting"] for point in points] == list(engine.settings):
            return points
    points = []
    for setting in engine.settings:
        worker.ask("set", **setting)
        answer = worker.ask("search", batch=1, k=K, ids=True)
        points.append({
            "setting": setting,
            "recall": recall(answer["ids"], data),
            "qps": answer["queries"] / answer["seconds"],
        })  # fmt: skip
    kept.write_text(json.dumps(points))
    best = max(point["recall"] for point in points)
    log(f"{engine.name}: {len(points)} settings, best recall@{K} {best:.4f}")
    return points


def pareto(points, speed="qps"):
    """Points that no other beats in both recall and speed, by ascending recall."""
    front = []
    for point in sorted(points, key=lambda point: (-point["recall"], -point[speed])):
        if not front or point[speed] > front[-1][speed]:
            front.append(point)
    return front[::-1]


def bracket(front, target):
    """The front's points on both sides of a recall, and their neighbours: rough speeds may rank them wrongly."""
    at = bisect.bisect_left([point["recall"] for point in front], target)
    return front[max(0, at - 2) : at + 3]


def time_by_turns(running, facts, rounds, log):
    """Adds to each engine the points of interest, with queries a second of every round."""
    for fact in facts.values():
        front = pareto(fact["sweep"])
        wanted = {json.dumps(point["setting"]): point for target in TARGETS for point in bracket(front, target)}
        fact["timed"] = [
            {"setting": point["setting"], "recall": point["recall"], "rounds": {str(batch): [] for batch in BATCHES}}
            for point in wanted.values()
        ]
    for number in range(rounds):
        for batch in BATCHES:
            for name, worker in running.items():
                for point in facts[name]["timed"]:
                    worker.ask("set", **point["setting"])
                    answer = worker.ask("search", batch=batch, k=K)
                    point["rounds"][str(batch)].append(answer["queries"] / answer["seconds"])
        log(f"retrieval round {number + 1} of {rounds}")


def speeds_at_targets(timed, batch):
    """For each target: queries a second of every round at that recall, or None where it is not reached."""
    speeds = {}
    for target in TARGETS:
        rounds = []
        for number in range(len(timed[0]["rounds"][str(batch)])):
            points = [{"recall": p["recall"], "qps": p["rounds"][str(batch)][number]} for p in timed]
            rounds.append(speed_at(pareto(points), target))
        usable = None not in rounds
        speeds[str(target)] = {"rounds": rounds, "median": statistics.median(rounds)} if usable else None
    return speeds


def speed_at(front, target):
    """Queries a second at a recall, on the straight line (of log speed) between the front's points around it."""
    for low, high in zip([None, *front], front):
        if high["recall"] >= target:
            if low is None:
                return high["qps"]
            share = (target - low["recall"]) / (high["recall"] - low["recall"])
            return float(np.exp((1 - share) * np.log(low["qps"]) + share * np.log(high["qps"])))
    return None
