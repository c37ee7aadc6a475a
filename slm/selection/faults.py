"""Which documents are at fault, and where? One line per row that an audit counted.

In: raw/, facts/, and a kind of fault of slm.selection.audit. Out: lines with the split, the row of
the source, and the text around the fault: the beginning of a duplicate or a leak, the end of an
unfinished document.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from slm.core.errors import check
from slm.selection.audit import MOJIBAKE, Audit, audited
from slm.selection.facts import FAULTS, read_facts
from slm.text.blocks import read_blocks
from slm.text.raw import locate, read_source

SHOWN = 60  # characters
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
PATTERNS = {
    "mojibake": MOJIBAKE,
    "control_characters": CONTROL,
    "unfinished": re.compile(r"\s*\Z"),
    "replacement_characters": re.compile("\ufffd"),
}


def advice(raw: Path, audits: dict[str, Audit]) -> str:
    """Returns what would strip documents of whitespace alone, or nothing where none would go."""
    source = read_source(raw)
    if source.get("strip"):
        return ""
    for split, audit in audits.items():
        files = source["splits"][split]["files"]
        ends = np.cumsum([file["rows"] for file in files])
        numbers = np.searchsorted(ends, audit.rows["only_whitespace"], side="right")
        if any(files[number]["name"].endswith(".txt") for number in set(numbers.tolist())):
            return "`strip: true` in params.yaml takes whitespace off both ends of .txt documents"
    return ""


def faults(raw: Path, facts: Path, kind: str, of_selection: tuple[str, ...] = ()) -> Iterator[str]:
    """Yields a line for each document of this kind; raises UserError if the kind is unknown.

    `of_selection` are the kinds that the caller knows beside those of faults.
    """
    splits = read_source(raw)["splits"]
    leaks = [f"also_in_{split}" for split in splits]
    kinds = [*FAULTS, "duplicates", *(leaks if len(leaks) > 1 else ())]
    known = ", ".join([*kinds, *of_selection])
    check(kind in kinds, f"{kind!r} is no kind of document here; expected one of {known}")
    for split, audit in audited(read_facts(facts)).items():
        files = splits[split]["files"]
        for row, text in texts_at(raw, split, audit.rows.get(kind, np.empty(0, np.int64))):
            yield f"{split} document {row:,}, {locate(files, row)}: {_around(kind, text)!r}"


def texts_at(raw: Path, split: str, rows: np.ndarray) -> Iterator[tuple[int, str]]:
    """Yields each of these ascending rows of a split with its text."""
    for block in read_blocks(raw, split) if len(rows) else ():
        end = block.first + block.documents
        first, last = np.searchsorted(rows, [block.first, end])
        for row in rows[first:last].tolist():
            yield row, block.text(row - block.first)
        if rows[-1] < end:
            return


def _around(kind: str, text: str) -> str:
    """Returns up to SHOWN characters around the fault, with an ellipsis for text left out."""
    match = PATTERNS[kind].search(text) if kind in PATTERNS else None
    position = match.start() if match else 0
    start = max(0, min(position - SHOWN // 2, len(text) - SHOWN))
    end = start + SHOWN
    return f"{'…' * (start > 0)}{text[start:end]}{'…' * (end < len(text))}"
