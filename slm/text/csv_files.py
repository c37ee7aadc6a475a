"""How is a CSV file read? Row after row, in constant memory, by Python's own reader.

In: an open file of bytes whose first row names the columns. Out: the text of one column of
each row, in order, or a UserError that names file and row. Blank lines are no rows.
"""

import csv
import io
from collections.abc import Iterator
from typing import Any

from slm.core.errors import UserError, check
from slm.text.raw import no_column

LONGEST = 2**31 - 1  # characters of a cell


def csv_texts(file: Any, column: str, name: str, encoding: str = "utf-8-sig") -> Iterator[str]:
    """The text in `column` of each row; `name` is the file's, for messages."""
    csv.field_size_limit(LONGEST)
    row = 0
    try:
        rows = csv.reader(io.TextIOWrapper(file, encoding, newline=""), strict=True)
        head = next(rows, [])
        check(
            not head or column in head, f"{name} {no_column(column, head)}, as its first row says"
        )
        for row, cells in enumerate(filter(None, rows), 1):
            wrong = f"row {row} of {name} has {len(cells)} cells, its first row {len(head)}"
            check(len(cells) == len(head), wrong)
            yield cells[head.index(column)]
    except (csv.Error, UnicodeError) as error:
        raise UserError(f"row {row + 1} of {name} cannot be read as CSV: {error}") from None
