"""What is a selection? The layout of data/<dataset>/selection/.

selection.json, a `Selection`. Where params.yaml selects nothing, it is all there is: each split of
the bins is the source's, in source order. Else there are, hashed in it:

    <source split>.outcomes   uint8 for each document of the source: bit 0 is set where it was held
                              out, bits 1 to 3 are the place in OUTCOMES of what became of it; CUT
                              is the only document, of which both splits have a part
    <split>.places            int64 for each document taken, in source order: its place, from 0, in
                              the split; missing where the order is the source's
    <split>.texts             the texts that differ from the source's, UTF-8 end to end, in source
                              order
    <split>.texts.rows        two int64 for each of these: its row in the source split, from 0, and
                              its length in bytes

Little-endian; the same facts and the same params give the same bytes.
"""

from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np

from slm.core.errors import differs
from slm.core.files import chunk_hashes, read_json, to_json
from slm.core.formats import FileEntry

NAME = "selection.json"
OUTCOMES = ("taken", "empty", "duplicates", "leaked", "first")
HELD, CUT = 1, 0x80


class Part(TypedDict):
    """A split of the bins; of one that is all of the source's in order, `source` alone."""

    source: str  # the source's split
    documents: NotRequired[int]
    words: NotRequired[int]


class Selection(TypedDict):
    """selection.json."""

    select: dict[str, Any]  # the entry of params.yaml
    splits: dict[str, Part]  # by name
    files: dict[str, FileEntry]  # by name, all but this one


def all_in_order(splits: list[str]) -> Selection:
    """Returns the selection of every document in source order."""
    return {"select": {}, "splits": {split: {"source": split} for split in splits}, "files": {}}


def write_selection(folder: Path, selection: Selection) -> None:
    """Writes selection.json."""
    (folder / NAME).write_bytes(to_json(selection))


def read_selection(folder: Path) -> Selection:
    """Returns selection.json; raises UserError if one of the files is missing or corrupt."""
    selection: Selection = read_json(folder / NAME)
    for name, entry in selection["files"].items():
        check_file(folder / name, entry, NAME)
    return selection


def check_file(path: Path, entry: FileEntry, listing: str) -> None:
    """Raises UserError if a file is missing, or has other bytes than a listing beside it says."""
    if not path.is_file() or chunk_hashes(path) != entry["sha256"]:
        raise differs(path, listing)


def is_all(selection: Selection, split: str) -> bool:
    """Whether a split is all of the source's, in source order."""
    return "documents" not in selection["splits"][split]


def outcomes(folder: Path, selection: Selection, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns `decoded` of all documents of the source split that a split is taken from."""
    source = selection["splits"][split]["source"]
    return decoded(np.fromfile(folder / f"{source}.outcomes", np.uint8), split != source)


def decoded(codes: np.ndarray, held: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns what became of documents, (documents,) places in OUTCOMES, and which are asked, bool.

    Those are asked that are taken into the split, or would be were they not left out; `held` says
    that it is the one that was held out.
    """
    asked = (codes & HELD) == (HELD if held else 0)
    return (codes & 0x7F) >> 1, asked | (codes == CUT)
