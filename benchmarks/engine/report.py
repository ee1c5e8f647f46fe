"""The report of the engine benchmark in Markdown, goals included, met or not."""

import statistics

import machine
import retrieval

OURS = "MedIndex PQ64x4"
MEMORY_GOAL = 64


def write(results):
    parts = [heading(results)]
    if "scan" in results:
        parts.append(scan_table(results["scan"]))
    if "retrieval" in results:
        parts.append(retrieval_tables(results["retrieval"]))
    parts.append(goals_table(results))
    return "\n\n".join(parts) + "\n"


def table(header, rows):
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def heading(results):
    data, quick = results["data"], results["quick"]
    note = "\n\n**A quick run: too small and too short to quote.**" if quick else ""
    # A run that is not what the command does by itself says so, in the results.
    note += f"\n\n**{results['note']}**" if "note" in results else ""
    return f"""# Engine benchmark

`make bench-engine`, one thread, all engines on the same core by turns. How to read it: [docs/benchmarks.md](../../docs/benchmarks.md).{note}

Machine: {machine.sentence(results["machine"])}.

Vectors: {data["count"]:,} of {data["dimension"]} dimensions: {data["embedded"]:,} views of {data["images"]:,} real CT, MR and
x-ray images (MedNIST, B. Erickson, Mayo Clinic, CC BY-SA 4.0), embedded with {data["model"]}, projected from {data["embedding_dimension"]} dimensions
({100 * data["energy"]:.1f} % of the energy kept), {data["interpolated"]:,} of them interpolated between near neighbours; {data["queries"]:,} queries are views of images that
no engine was given. Times are processor times."""


def scan_table(scan):
    rows = []
    for result in scan["cases"]:
        case = result["case"]
        rows.append([
            f"{case['bits']}-bit, {case['count']:,} codes ({case['name']}), {case['batch']} {'query' if case['batch'] == 1 else 'queries'}",
            f"{result['faiss_default']:.3f}", f"{result['faiss']:.3f} ({result['faiss_setting']})",
            f"{result['medindex']:.3f}", f"{result['kernel']:.3f}",
            f"**{result['ratio']:.2f}**", noise(result),
        ])  # fmt: skip
    header = ["32-byte codes", "FAISS, default", "FAISS, best setting", "MedIndex", "its kernel alone", "ratio to best", "A/A noise"]
    versions = scan["versions"]
    bandwidth = ", ".join(f"{way} {speed:.1f}" for way, speed in scan["bandwidth"]["ways"].items())
    return f"""## Scan speed

10⁹ code-distances a second on one core, lookup tables and top-10 included on both sides. FAISS {versions["faiss"]["version"]}
({versions["faiss"]["simd"]}): IndexPQFastScan 64x4 and IndexPQ 32x8. MedIndex kernel: {versions["medindex"]["kernel"]}. Ratios are medians over rounds.

{table(header, rows)}

Read bandwidth of one core in the same run, GB/s: {bandwidth}. MedIndex's single 4-bit query out of cache reads
{single_out_of_cache(scan)["medindex"] * 32:.1f} GB/s of codes, {100 * bandwidth_share(scan):.0f} % of the best; FAISS {single_out_of_cache(scan)["faiss"] * 32:.1f} GB/s.

![Scan speed](engine-scan.svg)"""


def noise(result):
    return f"±{100 * result['noise_faiss']:.0f} % / ±{100 * result['noise_medindex']:.0f} %"


def find(scan, bits, name, batch):
    wanted = (bits, name, batch)
    return next(r for r in scan["cases"] if (r["case"]["bits"], r["case"]["name"], r["case"]["batch"]) == wanted)


def single_out_of_cache(scan):
    return find(scan, 4, "out of cache", 1)


def bandwidth_share(scan):
    return single_out_of_cache(scan)["medindex"] * 32 / scan["bandwidth"]["best"]


def retrieval_tables(engines):
    blocks = []
    for batch in retrieval.BATCHES:
        rows = [[name, *(speed_cells(fact, engines, batch))] for name, fact in engines.items()]
        header = ["engine"] + [f"recall .{round(100 * t)}" for t in retrieval.TARGETS] + ["MedIndex is faster by, at .95"]
        title = "One query at a time" if batch == 1 else f"Batches of {batch}"
        blocks.append(f"### {title}, queries a second\n\n{table(header, rows)}")
    rows = []
    for name, fact in engines.items():
        mapped = f"{fact['mapped_per_vector']:.0f}" if fact["mapped_per_vector"] else ""
        best = max(point["recall"] for point in fact["sweep"])
        rows.append([
            name, f"`{fact['variant']}`", fact["hello"]["version"], f"{fact['build']['cpu']:.0f}",
            f"{fact['bytes_per_vector']:.0f}", mapped, f"{best:.4f}",
        ])  # fmt: skip
    header = ["engine", "configuration", "version", "build, processor s", "memory, bytes a vector", "mapped files, bytes a vector", "best recall"]
    return f"""## Retrieval

Recall@{retrieval.K} against exact search. Speeds at a recall lie on the line between the two measured settings around it; "–" where no
setting reaches it.

{(chr(10) * 2).join(blocks)}

![Queries a second over recall](engine-retrieval.svg)

### Build and memory

Memory is what the process holds by itself (RssAnon) after opening the index; mapped files can be dropped and read again.

{table(header, rows)}"""


def speed_cells(fact, engines, batch):
    at = fact["at"][str(batch)]
    cells = [f"{at[str(t)]['median']:,.0f}" if at[str(t)] else "–" for t in retrieval.TARGETS]
    ratio = ratio_at(engines[OURS], fact, batch, 0.95)
    return [*cells, f"{ratio:.2f}" if ratio else "–"]


def ratio_at(ours, other, batch, target):
    """Median over rounds of our speed over the other's, or None."""
    a, b = ours["at"][str(batch)][str(target)], other["at"][str(batch)][str(target)]
    if not a or not b:
        return None
    return statistics.median(x / y for x, y in zip(a["rounds"], b["rounds"]))


def goals(results):
    """(goal, measured, met) for each goal that was measured."""
    made = []
    if "scan" in results:
        scan = results["scan"]
        for name in ("in cache", "out of cache"):
            result = find(scan, 4, name, 64)
            against_default = result["medindex"] / result["faiss_default"]
            text = f"x{result['ratio']:.2f} (x{against_default:.2f} against FAISS's default)"
            made.append((f"4-bit scan in batches, {name}: ≥ 2x FAISS", text, result["ratio"] >= 2))
        share, single = bandwidth_share(scan), single_out_of_cache(scan)["ratio"]
        made.append(("single query out of cache: ≥ 80 % of read bandwidth", f"{100 * share:.0f} %", share >= 0.8))
        made.append(("single query out of cache: not behind FAISS", f"x{single:.2f}", single >= 1))
        eights = [result["ratio"] for result in scan["cases"] if result["case"]["bits"] == 8]
        made.append(("8-bit scan: ≥ 10x FAISS PQ32", f"x{min(eights):.1f} to x{max(eights):.1f}", min(eights) >= 10))
    if "retrieval" in results:
        engines = results["retrieval"]
        rivals = [fact for name, fact in engines.items() if name.startswith("FAISS") and "f16" in name]
        for batch in retrieval.BATCHES:
            ratios = [ratio for fact in rivals if (ratio := ratio_at(engines[OURS], fact, batch, 0.95))]
            text = f"x{min(ratios):.2f} against the fastest" if ratios else "recall not reached"
            made.append((f"IVF at recall .95, batches of {batch}: ahead of FAISS at equal memory", text, bool(ratios) and min(ratios) > 1))
        ours = engines[OURS]["bytes_per_vector"]
        made.append((f"memory beside the mapped vectors: ≤ {MEMORY_GOAL} bytes an image", f"{ours:.0f} bytes", ours <= MEMORY_GOAL))
    return made


def goals_table(results):
    rows = [[goal, measured, "met" if met else "**not met**"] for goal, measured, met in goals(results)]
    return "## Goals\n\n" + table(["goal", "measured", ""], rows)
