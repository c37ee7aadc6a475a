"""Check every byte of a dataset's bins against their manifest, and the whole against dvc.lock."""

import sys
from pathlib import Path

from slm.bins import damage, file_names, read_manifest
from slm.errors import UserError, door
from slm.lock import folder_hash, locked_hash, rotten
from slm.params import chosen, read_params


def main() -> None:
    """Verify the dataset named on the command line, or the one that params.yaml names."""
    name = chosen(read_params(Path("params.yaml")), sys.argv[1:])
    folder = Path("data", name, "bins")
    read_manifest(folder)
    wrong = list(damage(folder)) or list(_unlocked(name, folder))
    for line in wrong:
        print(line, file=sys.stderr)
    if wrong:
        gone = " ".join(map(str, [folder, *rotten(Path(".dvc/cache/files/md5"))]))
        mend = f"`rm -rf {gone}`, then `make data DATASET={name}`, makes them again"
        raise UserError(f"{folder} is not what was built; {mend}")
    print(f"{folder}: every byte is as manifest.json and dvc.lock say")


def _unlocked(name: str, folder: Path):
    expected = locked_hash(Path("dvc.lock"), f"bins@{name}", str(folder))
    found = folder_hash(folder, file_names(folder))
    if expected is None:
        yield f"dvc.lock has no bins of {name}: they were not built by `make data`"
    elif found != expected:
        yield f"{folder} has the hash {found}, dvc.lock has {expected}: another version of the bins"


if __name__ == "__main__":
    door(main)
