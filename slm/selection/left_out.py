"""Which documents did a selection leave out or repair, and where do they stand?

In: raw/, selection/. Out: lines with the split that a document would be in, why it is not, or what
was repaired, its row and file, and its text's beginning.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slm.selection.faults import SHOWN, texts_at
from slm.selection.files import OUTCOMES, is_all, outcomes, read_selection
from slm.selection.own_texts import each_text
from slm.text.raw import SourceFile, locate, read_source


class Asked(NamedTuple):
    """What became of the documents that a split of the bins asks for."""

    split: str
    source: str  # the split of the source
    files: list[SourceFile]
    left_out: np.ndarray  # (documents of the source split,) uint8: places in OUTCOMES, or 0
    taken: np.ndarray  # (documents of the source split,) bool

    def line(self, what: str, row: int, text: str) -> str:
        """Split, what became of a document, its row and file, and the beginning of its text."""
        beginning = repr(text[:SHOWN] + "…" * (len(text) > SHOWN))
        return f"{self.split}: {what}: {locate(self.files, row)}: {beginning}"


def left_out(raw: Path, selection: Path) -> Iterator[str]:
    """Yields a line for each document that is left out, in source order by split."""
    for asked in _asked(raw, selection):
        own = dict(_texts(selection, asked.split, asked.left_out > 0))
        for row, text in texts_at(raw, asked.source, np.flatnonzero(asked.left_out)):
            yield asked.line(OUTCOMES[asked.left_out[row]], row, own.get(row, text))


def repaired_texts(raw: Path, selection: Path) -> Iterator[str]:
    """Yields a line for each repaired document of the bins, with its text there."""
    if not read_selection(selection)["select"].get("repair"):
        return
    for asked in _asked(raw, selection):
        for row, text in _texts(selection, asked.split, asked.taken):
            yield asked.line("repaired", row, text)


def _asked(raw: Path, selection: Path) -> Iterator[Asked]:
    """Yields each split that is not all of a split of the source, in its order."""
    source, known = read_source(raw)["splits"], read_selection(selection)
    for split, part in known["splits"].items():
        if is_all(known, split):
            continue
        reasons, asked = outcomes(selection, known, split)
        files = source[part["source"]]["files"]
        yield Asked(split, part["source"], files, reasons * asked, asked & (reasons == 0))


def _texts(selection: Path, split: str, wanted: np.ndarray) -> Iterator[tuple[int, str]]:
    """Yields row and text of documents with a text of their own, where `wanted` is true."""
    for row, text in each_text(selection, split):
        if wanted[row]:
            yield row, bytes(text).decode()
