"""Are a dataset's bins intact, and what is beside them?

In: the name of a dataset. The truth is dvc.lock as the last commit has it; bins that were built and
are not committed yet are intact, too, if they are what dvc.lock in the workspace names. Every byte
is read. Corrupt objects of DVC's cache and a corrupt tokens/ are removed when they are found, since
DVC would go on from them.
"""

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from slm.bins.format import MANIFEST, STRAYS
from slm.bins.manifest import file_names
from slm.bins.verifying import damage
from slm.core.errors import UserError
from slm.core.files import chunk_hashes, md5_of, read_json
from slm.core.formats import units_of
from slm.versions.cache import corrupt_objects, file_list, missing_objects, object_path, objects_of
from slm.versions.lock import committed_hash, folder_hash, locked_hash
from slm.versions.pipeline import open_repo

LOCK = Path("dvc.lock")


class Versions(NamedTuple):
    """DVC's hashes of an output, None where a dvc.lock has none."""

    committed: str | None
    here: str | None  # in the workspace


def versions(name: str, stage: str = "bins", out: str = "bins") -> Versions:
    """What the two dvc.lock have for a stage's output; UserError where one cannot be read."""
    asked = (LOCK, f"{stage}@{name}", f"data/{name}/{out}")
    return Versions(committed_hash(*asked), locked_hash(*asked))


def damaged(folder: Path, known: Collection[str | None]) -> list[str]:
    """What is wrong with a folder of bins, a line for each place; `known`: hashes it may have."""
    if lines := list(damage(folder)):
        return lines
    actual = folder_hash(folder, file_names(folder))
    if actual in known:
        return []
    named = " or ".join(filter(None, known)) or "none"
    return [f"{folder} is {actual}, another version of the bins than dvc.lock names: {named}"]


def only_here(folder: Path, cache: Path, version: str | None) -> Iterator[Path]:
    """What would be lost with `folder`: intact bins that the cache has not, and files of others.

    Damaged bins are worth nothing where the cache has `version` to take their place, nor
    are copies that a killed DVC left.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    intact = not list(damage(folder))
    instead = folder_hash(folder, file_names(folder)) if intact else version
    if instead is None or missing_objects(cache, instead):
        yield folder
    elif not intact:
        known = {*STRAYS}
        if (folder / MANIFEST).exists():
            known |= (file_list(cache, instead) or {}).keys()
        others = (path for path in folder.glob("*") if path.name not in known)
        for path in sorted(path for path in others if path.suffix != ".tmp"):
            if path.is_dir() or not object_path(cache, md5_of(path)).exists():
                yield path


def remove_corrupt(name: str, known: Versions) -> Iterator[str]:
    """Remove what is corrupt of these versions in DVC's cache, and of tokens/; a line for each."""
    cache = local_cache()
    names = {name for version in filter(None, known) for name in objects_of(cache, version)}
    yield from drop(corrupt_objects(cache, names))
    tokens = Path("data", name, "tokens")
    if tokens.exists() and (wrong := _wrong_file(tokens)):
        shutil.rmtree(tokens)
        yield f"{tokens / wrong} was not as tokens.json says; {tokens} is removed"


def drop(paths: list[Path]) -> Iterator[str]:
    """Remove corrupt objects; a line for each."""
    for path in paths:
        path.unlink(missing_ok=True)
        yield f"{path} had other bytes than its name says; it is removed"


def _wrong_file(tokens: Path) -> str:
    """The first file in tokens/ that has not the hashes that tokens.json has for it, or ""."""
    try:
        splits = read_json(tokens / "tokens.json")["splits"]
        units = [unit for split, entry in splits.items() for unit in units_of(split, entry)]
        files = {f"{name}.{kind}": h for name, of in units for kind, h in of["sha256"].items()}
    except (UserError, AttributeError, KeyError, TypeError):
        return "tokens.json"
    there = {path.name: chunk_hashes(path) for path in tokens.iterdir() if path.is_file()}
    return next((name for name, hashes in files.items() if there.get(name) != hashes), "")


def local_cache() -> Path:
    """The folder of DVC's objects."""
    with open_repo() as repo:
        return Path(repo.cache.local.path)
