"""Compares the operator's rights with its code: `rights.py ROLE.json`. What it makes (reconcile/objects.rs) and watches (program/watches.rs) is what it may
make and watch, and nothing else."""

import json
import pathlib
import re
import sys

OBJECTS = pathlib.Path("operator/src/reconcile/objects.rs")
PROGRAM = pathlib.Path("operator/src/program/watches.rs")
MADE = {"get", "list", "create", "patch", "delete"}
# Kinds whose objects others make.
OTHERS = {"Pod": {"list"}, "PersistentVolumeClaim": {"list", "patch"}}
# What is read or written beside the objects of an index, and where in the code.
BESIDE = {
    ("medindex.dev", "medicalimageindexes"): {"get", "list", "watch", "patch"},  # the controller, the finalizer, plan
    ("medindex.dev", "medicalimageindexes/status"): {"patch"},  # reconcile/status.rs
    ("medindex.dev", "medicalimageindexes/finalizers"): {"update"},  # owner references that block deletion (build/meta.rs)
    ("", "secrets"): {"get"},  # reconcile/dereference.rs
    ("events.k8s.io", "events"): {"create", "patch"},  # kube's Recorder
}


def wanted():
    kinds = re.findall(r'kind\("([^"]*)", "[^"]+", "(\w+)", "([a-z]+)"\)', OBJECTS.read_text(encoding="utf-8"))
    watched = set(re.findall(r"children\.watch::<(\w+)>", PROGRAM.read_text(encoding="utf-8")))
    if not kinds or not watched or watched - {kind for _, kind, _ in kinds}:
        sys.exit(f"{OBJECTS} and {PROGRAM} are not written as this check reads them: mend the check")
    rights = dict(BESIDE)
    for group, kind, plural in kinds:
        verbs = OTHERS.get(kind, MADE)
        rights[group, plural] = verbs | ({"watch"} if kind in watched else set())
    return rights


def granted(role):
    rights = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                rights.setdefault((group, resource), set()).update(rule["verbs"])
    return rights


def main():
    # The binding that follows the role is not looked at.
    role, _ = json.JSONDecoder().raw_decode(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    code, chart = wanted(), granted(role)
    faults = []
    for group, resource in sorted(code.keys() | chart.keys()):
        used, given = code.get((group, resource), set()), chart.get((group, resource), set())
        name = f"{group}/{resource}" if group else resource
        if used - given:
            faults.append(f"{name}: the operator needs {', '.join(sorted(used - given))} and the chart does not give it")
        if given - used:
            faults.append(f"{name}: the chart gives {', '.join(sorted(given - used))} and the operator does not use it")
    if faults:
        sys.exit("\n".join(faults))
    print(f"chart: the rights to {len(code)} kinds are those that the operator's code uses")


if __name__ == "__main__":
    main()
