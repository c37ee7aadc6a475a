"""How is a JSON array of objects read? One object after another, in constant memory.

In: the parts of a file in UTF-8, and a column. Out: the text of each object, in order, or a
UserError that names file and row.
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from itertools import chain

from slm.core.errors import UserError, check
from slm.text.raw import no_column, value_of, whole_number, without_mark

BEGIN = re.compile(r"\s*\[\s*(\])?")
BETWEEN = re.compile(r"\s*(?:,|(\]))\s*")
DECODE = json.JSONDecoder(parse_int=whole_number).raw_decode

TOO_DEEP = "nests too deeply for an array; write JSON Lines, of which any depth is read"


def texts(parts: Iterable[bytes], column: str, name: str) -> Iterator[str]:
    """The text in `column` of each object of the array; `name` is the file's, for messages."""
    row = 0
    for row, value in enumerate(_values(parts, name), 1):
        if not isinstance(value, dict):
            raise UserError(f"row {row} of {name} is no object with text; correct that file")
        try:
            text = value_of(value, column)
        except LookupError:
            raise UserError(f"row {row} of {name} {no_column(column, value)}") from None
        if not isinstance(text, str) or re.search("[\ud800-\udfff]", text):
            shown = json.dumps(text)[:40]
            raise UserError(f"row {row} of {name} has {shown} in {column!r}, expected text")
        yield text


def _values(parts: Iterable[bytes], name: str) -> Iterator[object]:
    """The values of the array; UserError where the file is no array, or ends inside it."""
    decoded = chain(_decoded(without_mark(parts), name), [""])
    buffer, row, mark = "", 1, BEGIN
    for part in decoded:
        buffer, position = buffer + part, 0
        while found := mark.match(buffer, position):
            if found[1]:
                check(
                    not (buffer[found.end() :] + "".join(decoded)).strip(),
                    f"{name} goes on behind its array",
                )
                return
            try:
                value, end = DECODE(buffer, found.end())
            except RecursionError:
                raise UserError(f"row {row} of {name} {TOO_DEEP}") from None
            except ValueError:
                break  # it may go on in the next part
            if part and end == len(buffer):
                break  # as a number may
            yield value
            position, row, mark = end, row + 1, BETWEEN
        buffer = buffer[position:]
    raise UserError(f"row {row} of {name} is not JSON, or the array is cut off there")


def _decoded(parts: Iterable[bytes], name: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for part in parts:
            yield decoder.decode(part)
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 ({error}); correct that file") from None
