"""A table of figures in a terminal and in Markdown; page.html has the third form.

In: what was found of each variant, or a table that compare.columns made of it. Out: text. All three
hold the same cells, and stand the columns on their side: a line a figure, a column a variant,
since there are many figures and few variants. The same input gives the same text.
"""

import shutil
from collections.abc import Iterator
from textwrap import wrap

from compare.columns import Table, same_line, tables
from compare.result import Result

GAP, NARROW = 2, 14  # characters: between columns, and the least to wrap a label to


def terminal(results: list[Result], width: int | None = None) -> str:
    """The tables as lines of at most `width` columns: of the terminal, or of 100 without one.

    Variants that do not fit beside each other follow below. A width that has no room for the
    headings and one variant is not kept to.
    """
    width = width or shutil.get_terminal_size((100, 24)).columns
    return "\n".join(line.rstrip() for table in tables(results) for line in lines(table, width))


def lines(table: Table, width: int) -> Iterator[str]:
    """One table as lines of at most `width` columns, where that has room."""
    for block in _blocks(table, width):
        lines = map("".join, zip(*block, strict=True))
        yield from [*filter(str.strip, lines), ""]
    if text := same_line(table, f"{table.title}, the same for all"):
        yield from [*wrap(text, width, subsequent_indent="  "), ""]


def _blocks(table: Table, width: int) -> Iterator[list[list[str]]]:
    """The columns that fit beside each other, headings first, each a list of as many lines."""
    bodies = [[column.cells[i] for column in table.columns] for i in range(len(table.labels))]
    made = [_upright(label, body) for label, body in zip(table.labels, bodies, strict=True)]
    height = max(map(len, made))
    left = [table.title, *(column.heading for column in table.columns)]
    left = _top([f"{line:<{max(map(len, left))}}" for line in left], height)
    block = [left]
    for lines in made if table.columns else ():
        if len(block) > 1 and sum(len(values[0]) for values in [*block, lines]) > width:
            yield block
            block = [left]
        block.append(_top(lines, height))
    if len(block) > 1:
        yield block


def _upright(label: str, cells: list[str]) -> list[str]:
    lines = [*wrap(label, max(NARROW, *map(len, ["", *cells]))), *cells]
    return [f"{line:>{GAP + max(map(len, lines))}}" for line in lines]


def _top(lines: list[str], height: int) -> list[str]:
    return [" " * len(lines[0])] * (height - len(lines)) + lines


def markdown(table: Table) -> str:
    """The columns as GitHub reads a table, the best cells bold; empty where there are none."""
    if not table.columns:
        return ""
    rows = [[table.title, *table.labels], ["---", *["---:"] * len(table.labels)]]
    rows += [
        [
            column.heading,
            *(f"**{cell}**" if i in column.best else cell for i, cell in enumerate(column.cells)),
        ]
        for column in table.columns
    ]
    lines = (" | ".join(cell.replace("|", r"\|") for cell in row) for row in rows)
    return "".join(f"| {line} |\n" for line in lines)
