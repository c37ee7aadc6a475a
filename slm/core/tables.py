"""How is a table printed for people? Lines of fixed columns, and notes below them; and progress.

In: cells of text. Out: lines; the first column is flush left, the others are flush right.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap

WIDTH = 100  # characters of a line


def table_line(cells: Iterable[object], widths: Iterable[int]) -> str:
    """One row, or the head; each width has room for the gap before its cell."""
    (first, width), *others = zip(cells, widths, strict=True)
    return f"{first:<{width}}" + "".join(f"{cell:>{width}}" for cell, width in others)


def aligned(rows: Sequence[tuple[str, ...]], sides: str) -> Iterator[str]:
    """Rows as lines of columns as wide as their cells; `sides` has < or > for each column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, sides, strict=True)
        yield "  ".join(f"{cell:{side}{width}}" for cell, width, side in cells).rstrip()


def wrapped(notes: Iterable[str]) -> list[str]:
    """Notes as lines of at most WIDTH characters, a note's second line indented."""
    return [line for note in notes for line in wrap(note, WIDTH, subsequent_indent="  ")]


def say(line: str) -> None:
    """Tells a terminal what comes next."""
    if sys.stderr.isatty():
        print(f"{line}…", file=sys.stderr, flush=True)
