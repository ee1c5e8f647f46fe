"""Checks what alerts and dashboards rest on: every metric that they name is registered by a program, every alert has its runbook, and none is left over.

usage: monitoring.py [RULES]     RULES: where the dashboards' queries are written as rules, so that promtool can read them
"""

import json
import pathlib
import re
import sys

CHART = pathlib.Path("helm/medindex/files")
RUNBOOKS = pathlib.Path("docs/runbooks")
# What prometheus-client adds to names: the suffixes of types and units.
SUFFIXES = re.compile(r"(_total|_bucket|_sum|_count)?$")
UNITS = re.compile(r"(_seconds|_bytes|_ratios)?$")
COMPONENTS = re.compile(r"^(operator|search|embedder|importer|trainer)_")


def registered():
    """Every text in the programs' sources that registers something."""
    names = set()
    for folder in ("operator/src", "workloads"):
        for path in pathlib.Path(folder).rglob("*.rs"):
            for found in re.finditer(r'register(?:_with_unit)?\(\s*"([a-z0-9_]+)"', path.read_text(encoding="utf-8")):
                names.add(found.group(1))
    return names


def forms(metric):
    """The names that a metric may be registered by."""
    bare = SUFFIXES.sub("", metric.removeprefix("medindex_"))
    bases = {bare, COMPONENTS.sub("", bare)}
    return bases | {UNITS.sub("", base) for base in bases}


def main():
    alerts = (CHART / "alerts.yaml").read_text(encoding="utf-8")
    queries, variables = [], []
    for path in sorted((CHART / "dashboards").glob("*.json")):
        dashboard = json.loads(path.read_text(encoding="utf-8"))
        queries += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
        variables += [variable["query"]["query"] for variable in dashboard["templating"]["list"] if isinstance(variable["query"], dict)]
    expressions = [line for line in alerts.splitlines() if "runbook:" not in line]
    metrics = set(re.findall(r"\bmedindex_[a-z0-9_]+", "\n".join(expressions + queries + variables)))
    if len(sys.argv) > 1:
        # JSON is YAML. Grafana's variable stands for a duration.
        rules = [{"record": f"query_{number}", "expr": query.replace("$__rate_interval", "5m")} for number, query in enumerate(queries)]
        pathlib.Path(sys.argv[1]).write_text(json.dumps({"groups": [{"name": "dashboards", "rules": rules}]}), encoding="utf-8")
    known = registered()
    faults = [f"no program registers the metric {metric}" for metric in sorted(metrics) if not forms(metric) & known]

    names = re.findall(r"- alert: (\w+)", alerts)
    links = re.findall(r"runbook: docs/runbooks/(\w+)\.md", alerts)
    pages = {path.stem for path in RUNBOOKS.glob("*.md")}
    faults += [f"alert {name} does not link docs/runbooks/{name}.md" for name, link in zip(names, links, strict=True) if name != link]
    faults += [f"docs/runbooks/{name}.md is missing" for name in names if name not in pages]
    faults += [f"docs/runbooks/{page}.md is of no alert" for page in sorted(pages - set(names))]
    if faults or not metrics or not names:
        sys.exit("\n".join(faults) or "no metric or alert was found: the check itself is broken")
    print(f"{len(metrics)} metrics exist, {len(names)} alerts have their runbooks")


if __name__ == "__main__":
    main()
