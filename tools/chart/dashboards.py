"""Writes the Grafana dashboards of the chart: `dashboards.py FOLDER`. A row is a list of panels, a panel a title, a unit and its queries."""

import json
import pathlib
import sys

WIDTH, HEIGHT = 24, 8
SOURCE = {"type": "prometheus", "uid": "${source}"}


def targets(queries):
    return [
        {"refId": chr(ord("A") + number), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
        for number, (expression, legend) in enumerate(queries)
    ]


def panel(kind, title, unit, queries, **defaults):
    return {
        "type": kind,
        "title": title,
        "datasource": SOURCE,
        "targets": targets(queries),
        "fieldConfig": {"defaults": {"unit": unit, **defaults}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}} if kind == "timeseries" else {},
    }


def series(title, unit, *queries):
    return panel("timeseries", title, unit, queries, min=0)


def number(title, unit, query, mappings=None, steps=None):
    defaults = {"mappings": mappings or []}
    if steps:
        defaults["thresholds"] = {"mode": "absolute", "steps": [{"color": color, "value": value} for value, color in steps]}
    return panel("stat", title, unit, [(query, "")], **defaults)


def truth(title, query, yes, no):
    mapping = {"1": {"text": yes, "color": "green"}, "0": {"text": no, "color": "red"}}
    return number(title, "none", query, [{"type": "value", "options": mapping}], [(None, "red"), (1, "green")])


def variable(name, label, query, multiple):
    return {
        "name": name, "label": label, "type": "query", "datasource": SOURCE, "query": {"query": query, "refId": name},
        "refresh": 2, "sort": 1, "multi": multiple, "includeAll": multiple,
    }


def dashboard(uid, title, variables, rows):
    panels, top = [], 0
    for row in rows:
        width = WIDTH // len(row)
        height = 4 if all(entry["type"] == "stat" for entry in row) else HEIGHT
        for place, entry in enumerate(row):
            panels.append({"id": len(panels) + 1, "gridPos": {"x": place * width, "y": top, "w": width, "h": height}, **entry})
        top += height
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "uid": uid, "title": title, "tags": ["medindex"], "editable": True, "schemaVersion": 39, "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"}, "templating": {"list": [source, *variables]}, "panels": panels,
        "annotations": {"list": []},
    }


def rate(metric, by, selector=""):
    return f"sum by ({by}) (rate({metric}{{{selector}}}[$__rate_interval]))"


def quantile(share, metric, selector, by=""):
    return f"histogram_quantile({share}, {rate(metric + '_bucket', 'le' + by, selector)})"


def operator():
    me = 'job=~"$job"'
    reconciles, calls = "medindex_operator_reconciles_total", "medindex_operator_external_calls_total"
    seconds, failed = "medindex_operator_reconcile_duration_seconds", ', outcome="error"'
    share = f"{rate(calls, 'call', me + failed)} / {rate(calls, 'call', me)}"
    rows = [
        [
            truth("An operator leads", f"max(medindex_operator_leader{{{me}}})", "yes", "no"),
            number("Operators", "none", f"count(medindex_operator_leader{{{me}}})"),
            number("Indexes", "none", f"max(medindex_operator_resources{{{me}}})"),
            number("Reconciles that fail", "percentunit",
                   f'sum(rate({reconciles}{{{me}, outcome="error"}}[15m])) / sum(rate({reconciles}{{{me}}}[15m]))',
                   steps=[(None, "green"), (0.05, "yellow"), (0.2, "red")]),
        ],
        [
            series("Reconciles a second", "ops", (rate(reconciles, "outcome", me), "{{outcome}}")),
            series("Time of a reconcile", "s", *[(quantile(part, seconds, me), f"p{round(part * 100)}") for part in (0.5, 0.9, 0.99)]),
        ],
        [
            series("Calls to Kafka, HBase and gateways a second", "ops", (rate(calls, "call", me), "{{call}}")),
            series("Share of them that fails", "percentunit", (share, "{{call}}")),
        ],
        [series("Who leads", "none", (f"medindex_operator_leader{{{me}}}", "{{pod}}"))],
    ]
    jobs = variable("job", "Operator", "label_values(medindex_operator_leader, job)", True)
    return dashboard("medindex-operator", "MedIndex / Operator", [jobs], rows)


def index():
    me = 'namespace="$namespace", job="$job"'
    requests, searches = "medindex_http_requests_total", "medindex_search_duration_seconds"
    failed = f'sum(rate({requests}{{{me}, status=~"5.."}}[$__rate_interval]))'

    def one(metric, how="max"):
        return f"{how}({metric}{{{me}}})"

    def each(metric, by="pod"):
        return f"max by ({by}) ({metric}{{{me}}})"

    hits = rate("medindex_cache_lookups_total", "kept", me + ', result="hit"')
    rows = [
        [
            truth("Ready", one("medindex_ready"), "ready", "not ready"),
            number("Alarms", "none", f"count(max by (name) (medindex_alarms{{{me}}}) > 0) or vector(0)",
                   steps=[(None, "green"), (1, "red")]),
            number("Images searchable", "short", f'max(medindex_images{{{me}, status="indexed"}})'),
            number("Uploads waiting", "short", one("medindex_upload_lag_messages")),
            number("Generation", "none", one("medindex_index_generation")),
            number("Recall@10 at training", "percentunit", one("medindex_index_recall_at_10_ratios")),
        ],
        [
            series("Searches: time", "s", *[(quantile(part, searches, me), f"p{round(part * 100)}") for part in (0.5, 0.9, 0.99)]),
            series("Searches a second", "ops", (rate("medindex_searches_total", "query, result", me), "{{query}} {{result}}")),
        ],
        [
            series("Requests a second", "reqps", (rate(requests, "route", me), "{{route}}"), (failed, "failed (5xx)")),
            series("Requests: p99 by route", "s",
                   (quantile(0.99, "medindex_http_request_duration_seconds", me, ", route"), "{{route}}")),
        ],
        [
            series("Images", "short", (each("medindex_images", "status"), "{{status}}")),
            series("Waiting", "short", (one("medindex_upload_lag_messages"), "to be embedded"),
                   (one("medindex_search_index_lag"), "to be searchable")),
            series("Uploads a second", "ops", (rate("medindex_uploads_total", "result", me), "{{result}}")),
        ],
        [
            series("Embedders: images a second", "ops", (f"rate(medindex_embedder_model_images{{{me}}}[$__rate_interval])", "{{pod}}")),
            series("Shards: entries", "short", (each("medindex_search_entries"), "{{pod}}")),
            series("Shards: memory", "bytes", (each("medindex_search_memory_bytes"), "{{pod}}")),
            series("Shards: mapped files", "bytes", (each("medindex_search_mapped_bytes"), "{{pod}}")),
        ],
        [
            series("Generation by pod", "none", (each("medindex_search_generation"), "{{pod}}")),
            series("Changes that cannot be found yet", "short", (each("medindex_search_index_lag"), "{{pod}}")),
            series("Cache: share of hits", "percentunit", (f"{hits} / {rate('medindex_cache_lookups_total', 'kept', me)}", "{{kept}}")),
        ],
        [
            series("Alarms", "none", (each("medindex_alarms", "name, severity"), "{{severity}}: {{name}}")),
            series("Gateways: memory", "bytes", (each("medindex_process_resident_memory_bytes"), "{{pod}}")),
        ],
    ]
    variables = [
        variable("namespace", "Namespace", "label_values(medindex_search_entries, namespace)", False),
        variable("job", "Index", 'label_values(medindex_search_entries{namespace="$namespace"}, job)', False),
    ]
    return dashboard("medindex-index", "MedIndex / Index", variables, rows)


def main():
    folder = pathlib.Path(sys.argv[1])
    for name, content in (("operator", operator()), ("index", index())):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
