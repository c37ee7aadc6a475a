"""What does dvc.lock say of a stage's output, and do the bytes in the workspace agree?

DVC's hash of a folder is the MD5 of a JSON list of its files' MD5s, sorted by name, with `.dir`
behind it (its documentation, "Internal directories and files"; held to DVC itself by a test). We
compute it from the bytes: DVC's own commands trust what they remember of a file's time and size.
"""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from slm.errors import UserError


def locked_hash(lock: Path, stage: str, out: str) -> str | None:
    """The hash that dvc.lock has for output `out` of `stage`, or None where it has none.

    Raises UserError where dvc.lock cannot be read, as amid a merge.
    """
    if not lock.exists():
        return None
    try:
        stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"]
        outs = stages.get(stage, {}).get("outs", [])
        return next((found.get("md5") for found in outs if found["path"] == out), None)
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError):
        raise UserError(
            f"{lock} cannot be read; settle its merge, or `git checkout {lock}`"
        ) from None


def folder_hash(folder: Path, names: list[str]) -> str:
    """DVC's hash of a folder that holds the files `names`, read on all cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        hashes = pool.map(lambda name: _md5(folder / name), names)
        entries = [{"md5": md5, "relpath": name} for md5, name in zip(hashes, names, strict=True)]
    entries.sort(key=lambda entry: entry["relpath"])
    text = json.dumps(entries, sort_keys=True).encode()
    return hashlib.md5(text, usedforsecurity=False).hexdigest() + ".dir"


def rotten(cache: Path) -> list[Path]:
    """The objects of DVC's cache whose bytes are not those that they are named by; reads them all.

    DVC's own commands hand such an object out as if it were whole.
    """
    objects = {path: path.parent.name + path.name for path in cache.glob("??/*")}
    objects = {path: name.removesuffix(".dir") for path, name in objects.items()}
    return sorted(path for path, name in objects.items() if len(name) == 32 and _md5(path) != name)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
