"""How many documents has a file, and which bytes? Told in one pass over the file.

In: a file of JSON Lines, packed or not. Out: its SHA-256, how it is packed, and its rows, or a
UserError where it cannot be unpacked.
"""

import hashlib
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import BinaryIO

from slm.core.errors import UserError
from slm.text.raw import (
    UNPACKING,
    Place,
    SourceFile,
    parts_of,
    unpacked,
    unpacked_parts,
    without_mark,
)

PACKED = {".jsonl.gz": b"\x1f\x8b", ".jsonl.zst": b"\x28\xb5\x2f\xfd"}


def read_through(place: Place) -> tuple[str, int]:
    """SHA-256 of a file and how many lines it has, in one pass over its bytes."""
    digest = hashlib.sha256()
    with place.open("rb") as file:
        lines = _lines_in(parts_of(file, place, digest))
    return digest.hexdigest(), lines


def source_file(place: Place, name: str, rows: int, sha256: str) -> SourceFile:
    """What source.json says of a file; that it begins with a byte order mark where it does."""
    with unpacked(place, packing(place)) as file:
        marked = file.read(len(BOM_UTF8)) == BOM_UTF8
    named: SourceFile = {"name": name, "rows": rows, "sha256": sha256}
    return named | {"byte_order_mark": True} if marked else named


def packed_lines(place: Place, name: str, kind: str) -> int:
    """How many lines a packed file has; raises UserError where it is cut off or corrupt."""
    lines = 0

    def parts(file: BinaryIO) -> Iterator[bytes]:
        nonlocal lines
        for part in unpacked_parts(file):
            lines += part.count(b"\n")
            yield part

    try:
        with unpacked(place, kind) as file:
            return _lines_in(parts(file))
    except UNPACKING as error:
        raise UserError(f"{name} cannot be unpacked after row {lines}: {error}") from None


def _lines_in(parts: Iterable[bytes]) -> int:
    """How many lines there are; the last may lack its line feed, and blank ones may follow it."""
    lines, blank, filled = 0, 0, False
    for part in without_mark(parts):
        lines += part.count(b"\n")
        length = len(part.rstrip())
        filled = filled or length > 0
        blank = part.count(b"\n", length) + (0 if length else blank)
    return lines - blank + 1 if filled else 0


def packing(place: Place) -> str:
    """The ending in raw/ of a file of JSON Lines: how its first bytes say that it is packed."""
    with place.open("rb") as file:
        start = file.read(4)
    return next((kind for kind, magic in PACKED.items() if start.startswith(magic)), ".jsonl")


def is_array(place: Place) -> bool:
    """Whether a file, packed or not, begins as a JSON array."""
    with suppress(*UNPACKING), unpacked(place, packing(place)) as file:
        return next(unpacked_parts(file)).removeprefix(BOM_UTF8).lstrip()[:1] == b"["
    return False
