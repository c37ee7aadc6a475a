"""`make clean`: remove what can be made again, and what killed runs left.

raw/, facts/, selection/, vocabulary/, units/ and tokens/ go where params.yaml has the dataset and
its source is there; bins/, and those that a killed FIX=1 put aside, where DVC's cache has these
very bytes, or has those of dvc.lock and these are broken, and nothing of others is among them. What
stays is named, with the command that gives it up. source/, data/prebuilt and the cache always stay.
"""

import os
from pathlib import Path

from scripts._command import PARAMS, alone
from slm.core.errors import UserError, run_main
from slm.core.params import RESERVED, dataset_of, read_params
from slm.text.finding import find_files
from slm.versions.leftovers import remove
from slm.versions.lock import locked_hash
from slm.versions.pipeline import FOLDERS, open_repo
from slm.versions.repair import aside
from slm.versions.verify import LOCK, only_here


def main() -> None:
    """Clean every folder below data/ that has a dataset's outputs in it."""
    with alone("clean"):
        params = read_params(PARAMS)
        with open_repo() as repo:  # removes what killed runs left
            cache = Path(repo.cache.local.path)
        for folder in sorted(path for path in Path("data").iterdir() if path.is_dir()):
            if folder.name not in RESERVED:
                _clean(folder, params, cache)


def _clean(folder: Path, params: dict, cache: Path) -> None:
    steps = [folder / step for step in (*FOLDERS.values(), "units") if (folder / step).exists()]
    if steps and (why := _lost_source(folder, params)):
        _keep(steps, why)
        steps = []
    version = locked_hash(LOCK, f"bins@{folder.name}", f"{folder}/bins")
    for bins in filter(Path.exists, (folder / "bins", aside(folder / "bins"))):
        if lost := next(only_here(bins, cache, version), None):
            _keep([bins], f"DVC's cache does not have {'them' if lost == bins else lost}")
        else:
            steps.append(bins)
    for step in steps:  # under another name first, so that a kill leaves no half of it
        removed = step.rename(step.with_name(f"{step.name}.{os.getpid()}.tmp"))
        print(f"removed {step}")
        remove(removed)


def _lost_source(folder: Path, params: dict) -> str:
    """Why the steps before the bins could not be made again, or nothing."""
    try:
        entry = dataset_of(params, folder.name)
        if entry["kind"] == "files":
            for globs in entry["files"].values():
                find_files(folder / "source", globs)
    except UserError as error:
        return str(error)
    return "" if (folder / "source").is_dir() else f"{folder / 'source'} is gone"


def _keep(paths: list[Path], why: str) -> None:
    names = " ".join(map(str, paths))
    print(f"kept {names}: {why}; `rm -rf {names}` gives them up")


if __name__ == "__main__":
    run_main(main)
