"""Which folders did the bins come from, where those are not there?

In: a dataset's folder with its bins, as after a pull. Out: vocabulary/, selection/ and tokens/,
byte for byte as the stages before the bins wrote them; of bins with a selection the vocabulary
alone, since they have not all documents. dvc.lock is the proof: a folder is kept only where its
hash is the one that dvc.lock names. Nothing is fetched or tokenized, and raw/ is not needed.
"""

from pathlib import Path

from slm.bins.to_tokens import write_tokens
from slm.core.errors import UserError
from slm.core.files import landing
from slm.selection.files import all_in_order, write_selection
from slm.stores.opening import open_bins
from slm.text.hub.pins import read_pins
from slm.tokens.bpe import write_vocabulary
from slm.versions.lock import folder_hash, locked_hash
from slm.versions.pipeline import FOLDERS

RESTORED = ("vocabulary", "selection", "tokens")
STAGES = {folder: stage for stage, folder in FOLDERS.items()}


def restore(folder: Path, entry: dict, lock: Path) -> list[str]:
    """Make what is missing of data/<name>/vocabulary, selection and tokens; return their names.

    `folder` is data/<name> as dvc.lock writes it, `entry` the dataset's in params.yaml. Raises
    UserError, and keeps nothing of that folder, where the bins are missing or damaged, or give
    other bytes than `lock` names.
    """
    missing = [name for name in RESTORED if not (folder / name).is_dir()]
    for name in missing:
        with landing(folder / name) as out:
            bins = open_bins(folder / "bins")
            if name == "vocabulary":
                write_vocabulary(out, bins.encoding)
            elif "selection" in bins.manifest:
                raise UserError(f"{bins.folder} holds selected documents, not all of the source's")
            elif name == "selection":
                write_selection(out, all_in_order(list(bins.manifest["splits"])))
            else:
                write_tokens(bins, out, _expected_tokens(entry, folder / "source"))
            _prove(out, folder / name, lock)
    return missing


def _expected_tokens(entry: dict, source: Path) -> dict:
    """The counts that tokens.json has from a hub set's pins, and that the manifest has not."""
    pins = read_pins(entry, source / "pins.json") if entry["kind"] == "hub" else None
    return {"expected_tokens": pins.tokens} if pins and pins.tokens else {}


def _prove(made: Path, folder: Path, lock: Path) -> None:
    names = [path.name for path in made.iterdir()]
    stage = f"{STAGES[folder.name]}@{folder.parent.name}"
    if folder_hash(made, names) != locked_hash(lock, stage, folder.as_posix()):
        raise UserError(
            f"{folder.parent / 'bins'} does not give back {folder} as {lock} names it: damaged "
            "(`make verify` says), or of another version"
        )
