"""Prepares one model folder: writes its files from the wheels, and checks them against its manifest.

usage: prepare.py NAME --wheels FOLDER --manifest FILE --out FOLDER [--print-digests]

The manifest's SHA-256 sums are the contract: a file that came out otherwise is refused. A maintainer who
changes an exporter prints the new sums with --print-digests and writes them into the manifest.
"""

import argparse
import hashlib
import re
import shutil
from pathlib import Path

import efficientnet_lite0
import vgg16
import vgg16_int8

EXPORTERS = {
    "vgg16": vgg16.prepare,
    "vgg16-int8": vgg16_int8.prepare,
    "efficientnet-lite0": efficientnet_lite0.prepare,
}

# A line such as `  model.onnx: 0123…` below `files:`; no other value in a manifest is 64 hex digits.
FILE_LINE = re.compile(r"^\s+([\w.-]+):\s*([0-9a-f]{64})\s*$", re.MULTILINE)


def sha256(path: Path) -> str:
    """The file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(name: str, manifest: Path, out: Path) -> None:
    """Compares the files in `out` with the manifest, both ways."""
    expected = dict(FILE_LINE.findall(manifest.read_text(encoding="utf-8")))
    found = {path.name: sha256(path) for path in out.iterdir() if path.is_file()}
    if set(expected) != set(found):
        raise SystemExit(f"{name}: the manifest names {sorted(expected)}, prepared were {sorted(found)}")
    for file, digest in expected.items():
        if found[file] != digest:
            raise SystemExit(f"{name}: {file} has the SHA-256 {found[file]}, the manifest says {digest}")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Prepares one model folder.")
    parser.add_argument("name", choices=sorted(EXPORTERS))
    parser.add_argument("--wheels", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--print-digests", action="store_true")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    EXPORTERS[arguments.name](arguments.wheels, arguments.out)
    if arguments.print_digests:
        for path in sorted(arguments.out.iterdir()):
            print(f"  {path.name}: {sha256(path)}")
        return
    check(arguments.name, arguments.manifest, arguments.out)
    shutil.copyfile(arguments.manifest, arguments.out / "manifest.yaml")


if __name__ == "__main__":
    main()
