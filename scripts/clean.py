"""`make clean`: remove what can be made again, and what killed runs left.

raw/, vocabulary/ and tokens/ go where params.yaml has the dataset and its source is there; bins/
where DVC's cache has these very bytes, or has those of dvc.lock and these are broken. What stays
is named, with the command that gives it up. source/, data/prebuilt and the cache always stay.
"""

import os
from pathlib import Path

from slm.bins import damage, file_names
from slm.cache import lacking
from slm.errors import UserError, door
from slm.leftovers import remove
from slm.local import find_files
from slm.lock import folder_hash, locked_hash
from slm.locking import only_one
from slm.params import RESERVED, dataset_of, read_params
from slm.pipeline import open_repo

STEPS = ("raw", "vocabulary", "tokens")


def main() -> None:
    """Clean every folder below data/ that has a dataset's outputs in it."""
    Path("data").mkdir(exist_ok=True)
    with only_one(Path("data/.lock"), "make clean"):
        params = read_params(Path("params.yaml"))
        with open_repo() as repo:  # removes what killed runs left
            cache = Path(repo.cache.local.path)
        for folder in sorted(path for path in Path("data").iterdir() if path.is_dir()):
            if folder.name not in RESERVED:
                _clean(folder, params, cache)


def _clean(folder: Path, params: dict, cache: Path) -> None:
    steps = [folder / step for step in STEPS if (folder / step).exists()]
    if steps and (why := _lost_source(folder, params)):
        _keep(steps, why)
        steps = []
    bins = folder / "bins"
    if bins.exists() and _only_here(bins, cache):
        _keep([bins], "DVC's cache does not have them")
    elif bins.exists():
        steps.append(bins)
    for step in steps:  # under another name first, so that a kill leaves no half of it
        removed = step.rename(step.with_name(f"{step.name}.{os.getpid()}.tmp"))
        print(f"removed {step}")
        remove(removed)


def _lost_source(folder: Path, params: dict) -> str:
    """Why the steps before the bins could not be made again, or nothing."""
    try:
        entry = dataset_of(params, folder.name)
        for globs in entry.get("files", {}).values():
            find_files(folder / "source", globs)
    except UserError as error:
        return str(error)
    return "" if (folder / "source").is_dir() else f"{folder / 'source'} is gone"


def _only_here(bins: Path, cache: Path) -> bool:
    """Whether the cache could not bring these bins back; for broken ones, those of dvc.lock."""
    if not any(bins.iterdir()):
        return False
    if list(damage(bins)):
        version = locked_hash(Path("dvc.lock"), f"bins@{bins.parent.name}", str(bins))
    else:
        version = folder_hash(bins, file_names(bins))
    return version is None or bool(lacking(cache, version))


def _keep(paths: list[Path], why: str) -> None:
    names = " ".join(map(str, paths))
    print(f"kept {names}: {why}; `rm -rf {names}` gives them up")


if __name__ == "__main__":
    door(main)
