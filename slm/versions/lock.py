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

from slm.core.errors import UserError, packages_of
from slm.core.files import md5_of, write_file
from slm.core.git import git, git_text

CURE = (
    "amid a merge `make data` settles it; else `rm dvc.lock`, and `make data DATASET=name` for "
    "each dataset writes it anew"
)


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
@packages_of("data")
def outs_by_stage(content: bytes, lock: Path, cure: str = "") -> dict[str, dict[str, str]]:
    """The hashes that a dvc.lock with this content has: by stage, then by path.

    `lock` is what messages call it, `cure` what they advise. Raises UserError where it cannot be
    read.
    """
    import yaml

    try:
        stages = yaml.safe_load(content.decode())["stages"].items()
        outs = {name: stage.get("outs", []) for name, stage in stages}
        paths = {n: {o["path"]: o["md5"] for o in own if "md5" in o} for n, own in outs.items()}
        strange = [(n, path) for n, own in paths.items() for path in own if not _owns(n, path)]
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError):
        raise UserError(f"{lock} cannot be read; {cure or CURE}") from None
    for name, path in strange:
        raise UserError(f"{lock} has {path} under stage {name}, as after a merge; {cure or CURE}")
    return paths


def _owns(stage: str, path: str) -> bool:
    """Whether a stage of a dataset writes this; both sides of a merge, kept, give it others'."""
    _, _, dataset = stage.partition("@")
    return not dataset or path.startswith((f"data/{dataset}/", f"metrics/{dataset}/"))


def settle(lock: Path) -> set[str] | None:
    """Settle a git merge of dvc.lock by stage: what one side changed is taken from that side.

    Returns the datasets that both changed, whose entries are dropped, so that they are built again;
    None where there is nothing to settle.
    """
    import yaml

    if not git_text(lock.parent, "ls-files", "-u", "--", lock.name, cure="work in a git clone"):
        return None
    try:
        outs_by_stage(lock.read_bytes(), lock)
        return None  # settled already
    except UserError:
        base, ours, theirs = (_side(lock, number) for number in (1, 2, 3))
    names = [*dict.fromkeys([*ours, *theirs])]
    changed = [{n for n in names if side.get(n) != base.get(n)} for side in (ours, theirs)]
    both = {n for n in changed[0] & changed[1] if ours.get(n) != theirs.get(n)}
    dropped = {name.partition("@")[2] for name in both}
    sides = ((name, (theirs if name in changed[1] else ours).get(name)) for name in names)
    kept = {n: entry for n, entry in sides if entry and n.partition("@")[2] not in dropped}
    content = yaml.safe_dump({"schema": "2.0", "stages": kept}, sort_keys=False, width=1000)
    write_file(lock, content.encode())
    return dropped


def _side(lock: Path, number: int) -> dict[str, dict]:
    """The stages of dvc.lock as a side of the merge has it: 1 their base, 2 ours, 3 theirs."""
    import yaml

    shown = git(lock.parent, "show", f":{number}:./{lock.name}")
    return {} if shown.returncode else yaml.safe_load(shown.stdout.decode())["stages"]


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
