"""The two figures of the engine benchmark, as small SVG files."""

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

import retrieval

COLOURS = ["#0b6e4f", "#d1495b", "#e08e45", "#8d6a9f", "#30638e", "#5c9ead", "#7f7f7f"]
plt.rcParams |= {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "medindex"}


def draw(results, folder):
    if "scan" in results:
        save(scan_figure(results["scan"]), folder / "engine-scan.svg")
    if "retrieval" in results:
        save(retrieval_figure(results["retrieval"]), folder / "engine-retrieval.svg")


def save(figure, path):
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def scan_figure(scan):
    figure, panels = plt.subplots(1, 2, figsize=(8.4, 3.2), layout="constrained")
    for panel, bits in zip(panels, (4, 8)):
        results = [result for result in scan["cases"] if result["case"]["bits"] == bits]
        for offset, key, colour, label in ((-0.2, "faiss", COLOURS[1], "FAISS, best setting"), (0.2, "medindex", COLOURS[0], "MedIndex")):
            bars = panel.bar([i + offset for i in range(len(results))], [r[key] for r in results], 0.38, color=colour, label=label)
            panel.bar_label(bars, fmt="%.2f", fontsize=8, padding=1)
        panel.set_xticks(range(len(results)), [tick(result["case"]) for result in results], fontsize=8)
        panel.set_title(f"{bits}-bit codes of 32 bytes", fontsize=9)
        panel.set_ylabel("10⁹ code-distances a second")
        panel.margins(y=0.12)
    # Only a single query out of cache is held back by it.
    limit = scan["bandwidth"]["best"] / 32
    panels[0].hlines(limit, 1.55, 2.45, color="#666666", linewidth=1, linestyle="--")
    panels[0].annotate("read\nbandwidth", (2, limit), xytext=(0, 12), textcoords="offset points", fontsize=7, color="#666666", ha="center")
    panels[1].legend(frameon=False, fontsize=8, loc="upper left")
    return figure


def tick(case):
    queries = "1 query" if case["batch"] == 1 else f"{case['batch']} queries"
    return f"{case['name']}\n{queries}"


def retrieval_figure(engines):
    figure, panels = plt.subplots(1, 2, figsize=(8.4, 3.6), layout="constrained", sharey=True)
    for panel, batch in zip(panels, retrieval.BATCHES):
        for colour, (name, fact) in zip(COLOURS, engines.items()):
            points = [
                {"recall": p["recall"], "qps": sorted(p["rounds"][str(batch)])[len(p["rounds"][str(batch)]) // 2]}
                for p in fact["timed"]
            ]
            front = [point for point in retrieval.pareto(points) if point["recall"] >= 0.8]
            panel.plot([p["recall"] for p in front], [p["qps"] for p in front], "o-", color=colour, markersize=3, linewidth=1.2, label=name)
        panel.set_yscale("log")
        panel.set_xlabel(f"recall@{retrieval.K}")
        panel.set_title("one query at a time" if batch == 1 else f"batches of {batch}", fontsize=9)
        panel.grid(True, which="major", color="#eeeeee", linewidth=0.6)
        for target in retrieval.TARGETS:
            panel.axvline(target, color="#cccccc", linewidth=0.6, linestyle=":")
    panels[0].set_ylabel("queries a second, one core")
    figure.legend(*panels[0].get_legend_handles_labels(), frameon=False, fontsize=8, ncols=4, loc="outside lower center")
    return figure
