"""Takes files out of a wheel, without installing it.

usage: extract.py WHEEL PREFIX OUT      every file below PREFIX, keeping relative paths
       extract.py WHEEL PATTERN OUT --one   the one file that the shell pattern PATTERN matches, as OUT

Written names stay below OUT: a wheel that names files outside is refused.
"""

import argparse
import fnmatch
import shutil
import zipfile
from pathlib import Path


def copy(archive: zipfile.ZipFile, member: str, target: Path) -> None:
    """Writes one file of the wheel."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as source, target.open("wb") as out:
        shutil.copyfileobj(source, out)


def extract_one(archive: zipfile.ZipFile, pattern: str, out: Path) -> None:
    """Writes the one file that `pattern` matches."""
    members = fnmatch.filter(archive.namelist(), pattern)
    if len(members) != 1:
        raise SystemExit(f"{archive.filename} has {len(members)} files like {pattern}, not 1")
    copy(archive, members[0], out)


def extract_below(archive: zipfile.ZipFile, prefix: str, out: Path) -> None:
    """Writes every file below `prefix`."""
    members = [name for name in archive.namelist() if name.startswith(prefix) and not name.endswith("/")]
    if not members:
        raise SystemExit(f"{archive.filename} has no files below {prefix}")
    for member in members:
        target = out / member[len(prefix) :]
        if not target.resolve().is_relative_to(out.resolve()):
            raise SystemExit(f"{archive.filename} names a file outside its folder: {member}")
        copy(archive, member, target)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Takes files out of a wheel.")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("what")
    parser.add_argument("out", type=Path)
    parser.add_argument("--one", action="store_true")
    arguments = parser.parse_args()
    with zipfile.ZipFile(arguments.wheel) as archive:
        (extract_one if arguments.one else extract_below)(archive, arguments.what, arguments.out)


if __name__ == "__main__":
    main()
