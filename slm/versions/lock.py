"""Which hash has dvc.lock for a stage's output, and which have the bytes in the workspace?

A dvc.lock is read from the workspace, from git's last commit, which is what a colleague gets, or
from any other revision. DVC's hash of a folder is the MD5 of a JSON list of its files' MD5s, sorted
by name, with `.dir` behind it (its documentation, "Internal directories and files"; held to DVC
itself by a test). We compute it from the bytes: DVC's own commands trust what they remember of a
file's time and size.
"""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import yaml

from slm.core.errors import UserError
from slm.core.files import md5_of
from slm.core.git import git, git_text


def locked_hash(lock: Path, stage: str, out: str) -> str | None:
    """The hash that dvc.lock has for output `out` of `stage`, or None where it has none.

    Raises UserError where dvc.lock cannot be read, as amid a merge.
    """
    return locked_outs(lock, stage).get(out)


def locked_outs(lock: Path, stage: str) -> dict[str, str]:
    """The hashes that dvc.lock has for the outputs of `stage`, by their paths."""
    return outs_by_stage(lock.read_bytes(), lock).get(stage, {}) if lock.exists() else {}


def committed_hash(lock: Path, stage: str, out: str) -> str | None:
    """The same of dvc.lock as git's last commit has it; raises UserError outside of a git clone."""
    committed = git(lock.parent, "show", f"HEAD:./{lock.name}")
    if committed.returncode:  # no dvc.lock there, or no git clone
        git_text(lock.parent, "rev-parse", "--git-dir", cure="work in a git clone")
        return None
    return hash_at(committed.stdout, lock, stage, out)


def hash_at(content: bytes, lock: Path, stage: str, out: str) -> str | None:
    """The hash that a dvc.lock with this content has for output `out` of `stage`, or None.

    `lock` is what messages call it. Raises UserError where it cannot be read.
    """
    return outs_by_stage(content, lock).get(stage, {}).get(out)


@lru_cache(maxsize=2)  # the two are most often the same bytes, and YAML is slow
def outs_by_stage(content: bytes, lock: Path, cure: str = "") -> dict[str, dict[str, str]]:
    """The hashes that a dvc.lock with this content has: by stage, then by path.

    `lock` is what messages call it, `cure` what they advise. Raises UserError where it cannot be
    read.
    """
    try:
        stages = yaml.safe_load(content.decode())["stages"].items()
        outs = {name: stage.get("outs", []) for name, stage in stages}
        return {n: {o["path"]: o["md5"] for o in own if "md5" in o} for n, own in outs.items()}
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError):
        cure = cure or f"settle its merge, or `git checkout {lock}`"
        raise UserError(f"{lock} cannot be read; {cure}") from None


def folder_hash(folder: Path, names: list[str]) -> str:
    """DVC's hash of a folder that holds the files `names`, read on all cores."""
    return hash_of_list(folder_list(folder, names))


def folder_list(folder: Path, names: list[str]) -> bytes:
    """DVC's list of a folder that holds the files `names`: what its hash is the hash of."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        hashes = pool.map(lambda name: md5_of(folder / name), names)
        entries = [{"md5": md5, "relpath": name} for md5, name in zip(hashes, names, strict=True)]
    entries.sort(key=lambda entry: entry["relpath"])
    return json.dumps(entries, sort_keys=True).encode()


def hash_of_list(content: bytes) -> str:
    """The hash that DVC names a folder by, of its list."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest() + ".dir"
