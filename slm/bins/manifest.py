"""What does the manifest of a folder of bins say, and which files must be there?"""

import json
from collections.abc import Iterator
from pathlib import Path

from slm.bins.format import FORMAT, MANIFEST, REPAIR, self_hash
from slm.core.errors import UserError


def read_manifest(folder: Path) -> dict:
    """manifest.json; raises UserError where it is missing, of another format or damaged."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} not found: no bins here; build them with `make data`") from None
    except ValueError:
        raise UserError(f"{path} is damaged: not JSON; {REPAIR}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise UserError(
            f"{path} has format {found!r}, this version of slm reads {FORMAT}; build the bins "
            "again with `make data`, or use the slm that wrote them"
        )
    if manifest.get("sha256") != self_hash(manifest):
        raise UserError(f"{path} is damaged: its own SHA-256 differs; {REPAIR}")
    return manifest


def file_names(folder: Path) -> list[str]:
    """The names of the files that make up a folder of bins, its manifest among them."""
    return [MANIFEST, *(name for name, _ in files_of(read_manifest(folder)))]


def files_of(manifest: dict) -> Iterator[tuple[str, dict]]:
    """The name of each file but the manifest, and what the manifest has of it."""
    yield from manifest.get("vocabulary", {}).items()  # the ranks, where they were trained here
    for split in manifest["splits"].values():
        yield from split["files"].items()


def wrong_size(path: Path, expected: int) -> str:
    """What is wrong with the length of a file, in words; nothing where it has `expected` bytes."""
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    return "" if size == expected else f"has {size:,} bytes, expected {expected:,}"
