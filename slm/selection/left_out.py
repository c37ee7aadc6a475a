"""Which documents did a selection leave out or repair, and where do they stand?

In: raw/, selection/. Out: lines with the split that a document would be in, why it is not, or what
was repaired, its row and file, and its text's beginning.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from slm.selection.faults import SHOWN, texts_at
from slm.selection.files import OUTCOMES, is_all, outcomes, read_selection
from slm.selection.own_texts import read_texts
from slm.text.raw import locate, read_source


def left_out(raw: Path, selection: Path) -> Iterator[str]:
    """Yields a line for each document that is left out, in source order by split."""
    files, known = read_source(raw)["splits"], read_selection(selection)
    for split, part in known["splits"].items():
        if is_all(known, split):
            continue
        reasons, asked = outcomes(selection, known, split)
        reasons[~asked] = 0
        own = dict(_texts(selection, split, reasons > 0))
        for row, text in texts_at(raw, part["source"], np.flatnonzero(reasons)):
            where = locate(files[part["source"]]["files"], row)
            yield f"{split}: {OUTCOMES[reasons[row]]}: {where}: {_beginning(own.get(row, text))}"


def repaired_texts(raw: Path, selection: Path) -> Iterator[str]:
    """Yields a line for each repaired document of the bins, with its text there."""
    files, known = read_source(raw)["splits"], read_selection(selection)
    for split, part in known["splits"].items() if known["select"].get("repair") else ():
        if is_all(known, split):
            continue
        reasons, asked = outcomes(selection, known, split)
        for row, text in _texts(selection, split, asked & (reasons == 0)):
            where = locate(files[part["source"]]["files"], row)
            yield f"{split}: repaired: {where}: {_beginning(text)}"


def _texts(selection: Path, split: str, wanted: np.ndarray) -> Iterator[tuple[int, str]]:
    """Yields row and text of documents with a text of their own, where `wanted` is true."""
    for rows, block in read_texts(selection, split):
        for number, row in enumerate(rows.tolist()):
            if wanted[row]:
                yield row, block.text(number)


def _beginning(text: str) -> str:
    return repr(text[:SHOWN] + "…" * (len(text) > SHOWN))
