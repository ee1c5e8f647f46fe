"""Writes the JSON schemas that kubeconform checks manifests by: out of Kubernetes' own API description and out of definitions of resource types.

usage: schemas.py OUT SWAGGER [DEFINITION.json ...]

A file for each kind, OUT/GROUP/kind_version.json (GROUP is v1 for the core group, as kubeconform has it). Objects whose fields are known refuse
others, so that a misspelt field is found. Rules in CEL are not part of a JSON schema; the API server checks those.
"""

import json
import pathlib
import sys

PREFIX = "#/definitions/"


def strict(schema):
    """The schema with unknown fields refused, wherever the known ones are listed."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
        return {"type": ["string", "integer"]}
    result = {}
    for key, value in schema.items():
        if key in ("properties", "definitions") and isinstance(value, dict):
            result[key] = {name: strict(part) for name, part in value.items()}
        else:
            # What is written as an example or default is no schema.
            result[key] = value if key in ("default", "example", "enum") else strict(value)
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-embedded-resource")
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema and not open_ended:
        result["additionalProperties"] = False
    return result


def referenced(schema, found):
    """Names of the definitions that a schema uses."""
    if isinstance(schema, list):
        for part in schema:
            referenced(part, found)
    elif isinstance(schema, dict):
        target = schema.get("$ref", "")
        if isinstance(target, str) and target.startswith(PREFIX):
            found.add(target[len(PREFIX) :])
        for part in schema.values():
            referenced(part, found)


def closure(name, definitions):
    """All definitions that the one named needs, itself included."""
    needed, waiting = set(), [name]
    while waiting:
        current = waiting.pop()
        if current not in needed:
            needed.add(current)
            found = set()
            referenced(definitions[current], found)
            waiting.extend(found)
    return {key: definitions[key] for key in needed}


def write(out, group, kind, version, schema):
    folder = out / (group or version)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{kind.lower()}_{version}.json").write_text(json.dumps(schema), encoding="utf-8")


def write_kubernetes(out, swagger):
    definitions = strict(json.loads(swagger.read_text(encoding="utf-8")))["definitions"]
    definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"] = {"type": ["string", "number"]}
    for name, schema in definitions.items():
        for kind in schema.get("x-kubernetes-group-version-kind", []):
            if schema.get("properties", {}).get("kind"):
                whole = {"$ref": PREFIX + name, "definitions": closure(name, definitions)}
                write(out, kind["group"], kind["kind"], kind["version"], whole)


def write_definition(out, path):
    spec = json.loads(path.read_text(encoding="utf-8"))["spec"]
    for version in spec["versions"]:
        schema = strict(version["schema"]["openAPIV3Schema"])
        # A definition leaves out what all objects have.
        schema["properties"].update({"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}})
        write(out, spec["group"], spec["names"]["kind"], version["name"], schema)


def main():
    out, swagger, *types = map(pathlib.Path, sys.argv[1:])
    write_kubernetes(out, swagger)
    for path in types:
        write_definition(out, path)


if __name__ == "__main__":
    main()
