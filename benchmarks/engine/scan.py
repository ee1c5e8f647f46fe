"""Scan speed: code-distances a second over one list of random 32-byte codes, FAISS and ours by turns.

A search computes the lookup tables, quantizes them, scans every code and keeps the ten best, on both sides.
Codes are random: a kernel's speed does not depend on them, and the same bytes go to both.
"""

import dataclasses
import statistics

import numpy as np

from worker import medindex, peer

CODE_BYTES = 32
K = 10

# FAISS as it chooses by itself, and the best of its settings for batches on the machines we measured.
FAISS_SETTINGS = {"default": {}, "implem 14": {"implem": 14}, "qbs 0x22": {"implem": 12, "qbs": 0x22}}


@dataclasses.dataclass
class Case:
    """One comparison."""

    name: str
    bits: int
    count: int
    batch: int
    seconds: float
    rounds: int


def cases(quick):
    rounds = 3 if quick else 9
    inside, outside = 16_384, 1 << 20 if quick else 1 << 22
    made = []
    for where, count in (("in cache", inside), ("out of cache", outside)):
        for batch in (1, 64):
            made.append(Case(where, 4, count, batch, 0.15, rounds))
            # FAISS's 8-bit scan of a batch takes seconds out of cache: fewer rounds.
            slow = count > inside and batch > 1
            made.append(Case(where, 8, count, batch, 0.15, 2 if slow else rounds))
    return made


def write_codes(path, count, seed=1):
    if not path.exists() or path.stat().st_size < count * CODE_BYTES:
        np.random.default_rng(seed).integers(0, 256, count * CODE_BYTES, np.uint8).tofile(path)


def measure(data, cache, core, quick, log):
    """All cases, and the read bandwidth between them."""
    plan = cases(quick)
    codes = cache / "scan-codes.u8"
    write_codes(codes, max(case.count for case in plan))
    results, bandwidth = [], []
    with peer("faiss", core) as faiss, medindex(core) as ours:
        versions = {"faiss": faiss.ask("hello"), "medindex": ours.ask("hello")}
        for engine in (faiss, ours):
            engine.ask("queries", path=str(data.folder / "queries.f32"), dimension=data.dimension)
        loaded = None
        for case in sorted(plan, key=lambda case: (case.bits, case.count)):
            if loaded != (case.bits, case.count):
                for engine in (faiss, ours):
                    engine.ask(
                        "scan_load", bits=case.bits, codes=str(codes), count=case.count,
                        dimension=data.dimension, sample=str(data.folder / "base.f32"),
                    )  # fmt: skip
                loaded = (case.bits, case.count)
            results.append(compare(case, faiss, ours))
            log(describe(results[-1]))
            bandwidth.append(read_bandwidth(ours, quick))
    return {"versions": versions, "cases": results, "bandwidth": summarise_bandwidth(bandwidth)}


def compare(case, faiss, ours):
    """Rounds of FAISS, ours, FAISS again, ours again: the repeated ones show the noise."""
    scale = case.count * case.batch / 1e9
    ask_faiss = lambda **settings: scale / faiss.ask(
        "scan", batch=case.batch, k=K, seconds=case.seconds, **settings
    )["seconds"]
    ask_ours = lambda: scale / ours.ask("scan", batch=case.batch, k=K, seconds=case.seconds)["seconds"]
    settings, tuned = best_settings(case, ask_faiss)
    first, second, own, own_again, raw = [], [], [], [], []
    for _ in range(case.rounds):
        first.append(ask_faiss(**settings))
        own.append(ask_ours())
        second.append(ask_faiss(**settings))
        own_again.append(ask_ours())
        raw.append(scale / ours.ask("scan_raw", batch=case.batch, seconds=case.seconds)["seconds"])
    return {
        "case": dataclasses.asdict(case),
        "faiss": statistics.median(first + second),
        "faiss_default": tuned["default"],
        "faiss_setting": next(name for name, value in FAISS_SETTINGS.items() if value == settings),
        "medindex": statistics.median(own + own_again),
        "kernel": statistics.median(raw),
        "ratio": statistics.median(b / a for a, b in zip(first, own)),
        "noise_faiss": spread(first, second),
        "noise_medindex": spread(own, own_again),
    }


def best_settings(case, ask_faiss):
    """FAISS's fastest setting for the case: only 4-bit batches have a choice."""
    choice = FAISS_SETTINGS if case.bits == 4 and case.batch > 1 else {"default": {}}
    speed = {name: max(ask_faiss(**value) for _ in range(2)) for name, value in choice.items()}
    return FAISS_SETTINGS[max(speed, key=speed.get)], speed


def spread(first, second):
    """Half the range of A/A ratios: 0.03 means that 3 % either way says nothing."""
    ratios = [b / a for a, b in zip(first, second)]
    return (max(ratios) - min(ratios)) / 2


def read_bandwidth(ours, quick):
    answer = ours.ask("bandwidth", bytes=(1 << 28) if quick else (1 << 30), seconds=0.3)
    return dict(answer["variants"])


def summarise_bandwidth(measured):
    """Median of each way of reading, and the fastest."""
    ways = {way: statistics.median(one[way] for one in measured) / 1e9 for way in measured[0]}
    return {"ways": ways, "best": max(ways.values())}


def describe(result):
    case = result["case"]
    return (
        f"{case['bits']}-bit, {case['name']}, {case['batch']} queries: FAISS {result['faiss']:.3f} "
        f"({result['faiss_setting']}), MedIndex {result['medindex']:.3f} G codes/s, x{result['ratio']:.2f}"
    )
