"""How are bins opened? What the manifest says, and the arrays, mapped."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from slm.bins.format import REPAIR
from slm.bins.manifest import files_of, read_manifest, wrong_size
from slm.bins.verifying import check_bytes
from slm.core.errors import UserError


class Bins(NamedTuple):
    """A folder of bins that was opened: what the manifest says, and the arrays, mapped."""

    folder: Path
    manifest: dict
    revision: str | None = None  # the commit, where they were opened by revision

    @property
    def version(self) -> str:
        """One printable line that names these bins for good, by the hash of their content."""
        about, at = self.manifest, f"@{self.revision}" if self.revision else ""
        return (
            f"{about['dataset']['name']}{at} {about['tokenizer']['encoding']} "
            f"end_of_text={about['end_of_text']} sha256:{about['sha256']}"
        )

    def ids(self, split: str) -> np.ndarray:
        """(tokens,) uint16 or uint32: the ids of a split, mapped, read-only."""
        return _mapped(self.folder / f"{split}.bin", np.dtype(self.manifest["dtype"]))

    def docs(self, split: str) -> np.ndarray:
        """(documents + 1, 2) uint64: running totals of tokens and text bytes, mapped."""
        return np.load(self.folder / f"{split}.docs.npy", mmap_mode="r")


def open_bins(path: str | Path, *, verify: bool = False) -> Bins:
    """Open a folder of bins; `verify` reads every byte first.

    Raises UserError where a file is missing or of a wrong length, and with `verify` where a byte is
    not as the manifest says. Bins of another revision: slm.versions.open_revision.
    """
    return open_folder(Path(path), verify, REPAIR)


def open_folder(folder: Path, verify: bool, cure: str, revision: str | None = None) -> Bins:
    """Open a folder of bins; a UserError for what is wrong with it ends in `cure`."""
    manifest = read_manifest(folder)
    for name, expected in files_of(manifest):
        wrong = wrong_size(folder / name, expected["bytes"])
        if wrong:
            raise UserError(f"{folder / name} {wrong}; {cure}")
    if verify:
        check_bytes(folder, cure)
    return Bins(folder, manifest, revision)


def _mapped(path: Path, dtype: np.dtype) -> np.ndarray:
    if not path.stat().st_size:
        return np.empty(0, dtype)  # an empty file cannot be mapped
    return np.memmap(path, dtype.newbyteorder("<"), "r")
