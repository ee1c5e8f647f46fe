"""Writes docs/resource.md: every field of the resource type, its rules, columns and conditions.

usage: reference.py TYPE >docs/resource.md      TYPE: crds/medicalimageindexes.yaml, or the same as JSON (`kubectl label --local --output json`)

YAML is read by PyYAML, JSON without it. What the resource type does not say is read where it stands: types of conditions and annotations in the
operator's sources, what conditions mean in docs/operator.md.
"""

import json
import pathlib
import re
import sys

STATUS = pathlib.Path("operator/src/api/status.rs")
NAMES = pathlib.Path("operator/src/names.rs")
MEANINGS = pathlib.Path("docs/operator.md")
# Types of Kubernetes' own: the first sentence of what it says about their fields.
FOREIGN = ("tolerations[].", "conditions[].")

BEGINNING = """# The resource

Every field of `{kind}` ({group}/{version}), as the API server knows it. `tools/chart.sh copy` writes this page out of
[the resource type](../crds/medicalimageindexes.yaml); `kubectl explain {shortest}.spec` shows the same. What becomes of a resource is in
[the operator's page](operator.md), whole ones are in [`manifests/samples`](../manifests/samples). For research and teaching, not for diagnosis.

| | |
| --- | --- |
| names | `{plural}`, `{singular}`, {short}; category {categories} |
| scope | {scope} |
| object's name | {name_rule} |

`required` means: required where the object around it is given. An object of which every field has a default, or none is required, may be left out.
"""

RULES = """
## Rules

The API server checks them (CEL) when a resource is written, the operator once more those that do not compare with what was there before.

"""

CONDITIONS = """
## Conditions

Each has a status, a reason in one word and a message that says what to do; [reasons](operator.md#conditions).

"""

COLUMNS = """
## Columns and subresources

`kubectl get mii` shows these columns, those marked `wide` with `--output wide`.

"""

ANNOTATIONS = """
## Annotations and the finalizer

"""


def load(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return json.loads(text)
    import yaml  # Only where there is no kubectl to make JSON.

    return yaml.safe_load(text)


def unreadable(path):
    sys.exit(f"{path} is not written as this page is made of it: mend tools/chart/reference.py")


def constants(path):
    """Texts of a source by the comment before each."""
    found = re.findall(r'((?:^ *///.*\n)+) *pub const \w+: &str = "([^"]+)";', path.read_text(encoding="utf-8"), re.MULTILINE)
    return {text: " ".join(re.findall(r"/// (.*)", comment)) for comment, text in found} or unreadable(path)


def conditions():
    """Rows of the page that says what conditions mean, which has to have all of them."""
    section = re.search(r"^## Conditions\n(.*?)^## ", MEANINGS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    rows = [line.strip("|").split("|")[:2] for line in section[1].splitlines() if line.startswith("| `")] if section else []
    known = {name for types, _ in rows for name in re.findall(r"`(\w+)`", types)}
    types = set(constants(STATUS))
    if known != types:
        sys.exit(f"{MEANINGS} and {STATUS} have other types of conditions: {', '.join(sorted(known ^ types))}")
    return [[part.strip() for part in row] for row in rows]


def line(text):
    return " ".join(str(text).split()).replace("|", "\\|")


def cell(text):
    return line(text).replace("<", "&lt;")


def code(text):
    return f"`{line(text)}`"


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join("|" + "|".join(f" {part} " if part else " " for part in line) + "|\n" for line in lines)


def number(value):
    return str(int(value)) if float(value).is_integer() else str(value)


def between(least, most, unit=""):
    if least is None and most is None:
        return ""
    if most is None:
        return f"at least {number(least)}{unit}"
    return (f"at most {number(most)}" if least is None else f"{number(least)} to {number(most)}") + unit


def kind(schema):
    """A type in words."""
    if schema.get("x-kubernetes-int-or-string"):
        return "quantity"
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return "any object"
    if schema.get("type") == "array":
        return "list of " + plural(kind(schema["items"]))
    if isinstance(schema.get("additionalProperties"), dict):
        return "map of " + plural(kind(schema["additionalProperties"]))
    form = schema.get("format")
    return "time" if form == "date-time" else schema.get("type", "any")


def plural(word):
    return word[:-1] + "ies" if word.endswith("y") else word + "s"


def bounds(schema):
    """What values are allowed, in words."""
    parts = []
    if "enum" in schema:
        parts.append(", ".join(code(value) for value in schema["enum"]))
    if schema.get("type") == "integer":
        parts.append(between(schema.get("minimum"), schema.get("maximum")))
    if schema.get("type") == "array":
        parts.append(between(schema.get("minItems"), schema.get("maxItems"), " entries"))
        each = bounds(schema["items"])
        parts.append(f"each: {each}" if each else "")
        if "x-kubernetes-list-map-keys" in schema:
            parts.append("one for each " + ", ".join(code(key) for key in schema["x-kubernetes-list-map-keys"]))
    if schema.get("type") == "string":
        parts.append(between(schema.get("minLength"), schema.get("maxLength"), " characters"))
    if "pattern" in schema:
        parts.append(code(schema["pattern"]))
    return "; ".join(part for part in parts if part)


def default(name, field, parent):
    if name in parent.get("required", []):
        return "required"
    value = field.get("default")
    # Those of an object are its fields'.
    if value is None or isinstance(value, dict):
        return ""
    return code(value if isinstance(value, str) and value else json.dumps(value))


def fields(schema, path, seen):
    """Rows of the fields below an object. Objects of the same fields are described once; `seen` knows where."""
    rows = []
    for name, field in sorted(schema.get("properties", {}).items()):
        inner, mark = (field["items"], "[]") if field.get("type") == "array" else (field, "")
        place = f"{path}.{name}{mark}"
        description = cell(field.get("description", ""))
        if any(foreign in place for foreign in FOREIGN):
            description = description.split(". ")[0].rstrip(".") + "."
        same = json.dumps(inner.get("properties"), sort_keys=True)
        known = seen.get(same) if "properties" in inner else None
        if known:
            description += f" Fields as those of {code(known)}."
        rows.append([code(place), kind(field), default(name, field, schema), bounds(field), description])
        if "properties" in inner and not known:
            seen[same] = place
            rows.extend(fields(inner, place, seen))
    return rows


def rules(schema, path):
    """Rules at and below a schema: (path, rule, message)."""
    found = []
    for rule in schema.get("x-kubernetes-validations", []):
        found.append((path + rule.get("fieldPath", ""), rule["rule"], rule["message"]))
    for name, field in schema.get("properties", {}).items():
        found.extend(rules(field, f"{path}.{name}" if path else name))
    if isinstance(schema.get("items"), dict):
        found.extend(rules(schema["items"], path + "[]"))
    return found


def rule_rows(schema):
    places = {}
    for path, rule, message in sorted(rules(schema, "")):
        places.setdefault((rule, message), []).append(path or "metadata.name")
    rows = [
        [", ".join(map(code, paths)), "on change" if "oldSelf" in rule else "always", cell(message), code(rule)]
        for (rule, message), paths in places.items()
    ]
    return sorted(rows)


def is_simple(schema):
    return "properties" not in schema and "properties" not in schema.get("items", {})


def parts(schema, name, seen):
    """The tables of `spec` or `status`: first its own fields, then one for each object in it."""
    part = schema["properties"][name]
    head = ["field", "type", "default", "allowed", "what it is"]

    def rows(keys):
        return table(head, fields({**part, "properties": {key: part["properties"][key] for key in keys}}, name, seen))

    text = f"\n## {name}\n\n{part.get('description', '')}\n"
    simple = [key for key, value in part["properties"].items() if is_simple(value)]
    if simple:
        text += "\n" + rows(simple)
    for key in sorted(part["properties"].keys() - set(simple)):
        text += f"\n### {name}.{key}\n\n" + rows([key])
    return text


def columns(version):
    return [
        [cell(column["name"]), code(column["jsonPath"]), column["type"], "`wide`" if column.get("priority") else ""]
        for column in version["additionalPrinterColumns"]
    ]


def subresources(known):
    scale = {key: code(value) for key, value in known["scale"].items()}
    return [
        ["`/status`", "written by the operator alone"],
        [
            "`/scale`",
            "for `kubectl scale` and autoscalers: sets {specReplicasPath}, tells {statusReplicasPath}, finds pods by "
            "{labelSelectorPath}".format(**scale),
        ],
    ]


def main():
    spec = load(pathlib.Path(sys.argv[1]))["spec"]
    names = spec["names"]
    (version,) = spec["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    own_rules = [cell(rule["message"]) for rule in schema.get("x-kubernetes-validations", [])]
    text = BEGINNING.format(
        kind=names["kind"],
        group=spec["group"],
        version=version["name"],
        singular=names["singular"],
        plural=names["plural"],
        shortest=names["shortNames"][0],
        short=", ".join(code(name) for name in names["shortNames"]),
        categories=", ".join(code(name) for name in names["categories"]),
        scope=spec["scope"].lower(),
        name_rule="; ".join(own_rules),
    )
    seen = {}
    text += parts(schema, "spec", seen) + parts(schema, "status", seen)

    text += RULES + table(["field", "checked", "message", "rule"], rule_rows(schema))
    text += CONDITIONS + table(["type", "true when"], conditions())
    text += COLUMNS + table(["column", "shows", "type", ""], columns(version))
    text += "\n" + table(["subresource", "what it is"], subresources(version["subresources"]))
    marks = {text: comment for text, comment in constants(NAMES).items() if "medindex.dev/" in text and "of pod templates" not in comment}
    text += ANNOTATIONS + table(["name", "what it is"], [[code(name), cell(comment)] for name, comment in marks.items()])
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
