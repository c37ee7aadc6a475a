"""How does one file become a file of raw/? Linked as it is, or written as JSON Lines.

In: a file, its name in the source, a column, for .txt a separator. Out: Parquet, Arrow and JSON
Lines as they are; of JSON arrays, CSV and .txt their documents. Compression and the shape of JSON
are found by content.
"""

import hashlib
from codecs import getincrementaldecoder, lookup
from collections.abc import Iterable, Iterator
from pathlib import Path

from slm.core.errors import UserError, check
from slm.core.files import link_or_copy
from slm.text.arrays import texts
from slm.text.columnar import arrow_rows, parquet_rows
from slm.text.counting import is_array, packed_lines, packing, read_through, source_file
from slm.text.csv_files import csv_texts
from slm.text.raw import (
    PART_BYTES,
    UNPACKING,
    SourceFile,
    json_line,
    parts_of,
    unpacked,
    unpacked_parts,
    without_mark,
)

POINTER = b"version https://git-lfs.github.com/spec/"  # begins a file that stands for another
KINDS = ".parquet, .arrow, .txt, and .jsonl, .json and .csv, also as .gz or .zst"
WRITTEN = (".json", ".csv", ".txt")  # JSON arrays, CSV and text, which become JSON Lines in raw/
Named = tuple[str, Path]  # a file of the source: its name there, and where it is


def kind_by_name(name: str) -> str | None:
    """What a name says of a file: .parquet, .arrow, .txt, .csv or .json; None if it is not read."""
    unpacked_name = name.removesuffix(".gz").removesuffix(".zst")
    if name.endswith((".parquet", ".arrow", ".txt")):
        return Path(name).suffix
    if unpacked_name.endswith(".csv"):
        return ".csv"
    return ".json" if unpacked_name.endswith((".jsonl", ".json")) else None


def kind_of(path: Path, name: str, otherwise: str = ".json") -> str:
    """The kind of a file that is read: one of WRITTEN, or the ending that it has in raw/."""
    kind = kind_by_name(name) or otherwise
    return kind if kind != ".json" or is_array(path) else packing(path)


def take(kind: str, files: list[Named], target: Path, column: str, entry: dict) -> list[SourceFile]:
    """Make `target` of a file, or of several of kind .txt; what source.json says of each.

    Raises UserError, which names file and row, where a file cannot be read or is not text.
    """
    for name, path in files:
        with path.open("rb") as file:
            pointer = file.read(len(POINTER)) == POINTER
        check(not pointer, f"{name} is a pointer of Git LFS; `git lfs pull` brings it")
    if kind == ".txt":
        return _write_texts(files, target, column, entry)
    name, path = files[0]
    sha256, lines = read_through(path)
    if kind in WRITTEN:
        encoding = entry.get("encoding") or "utf-8"
        encoding = "utf-8-sig" if lookup(encoding).name == "utf-8" else encoding  # with its mark
        rows = _write_rows(path, name, target, column, kind, encoding)
    else:
        rows = rows_of(path, name, kind, column, lines)
        link_or_copy(path, target)
    return [source_file(path, name, rows, sha256)]


def rows_of(path: Path, name: str, kind: str, column: str, lines: int) -> int:
    """How many documents a file has that is linked as it is; `lines` are those of its bytes."""
    if kind == ".parquet":
        return parquet_rows(path, name, column)
    if kind == ".arrow":
        return arrow_rows(path, name, column)
    return lines if kind == ".jsonl" else packed_lines(path, name, kind)


def _write_rows(path: Path, name: str, target: Path, column: str, kind: str, encoding: str) -> int:
    """Write the rows of a JSON array or of a CSV file as JSON Lines; how many there are."""
    rows = 0
    try:
        with unpacked(path, packing(path)) as file, target.open("xb", PART_BYTES) as out:
            parts = unpacked_parts(file)
            is_csv = kind == ".csv"
            own = csv_texts(file, column, name, encoding) if is_csv else texts(parts, column, name)
            for rows, text in enumerate(own, 1):  # noqa: B007
                out.write(json_line(column, text))
    except UnicodeError as error:  # an encoding that can say what no text has
        raise UserError(f"row {rows} of {name} is no text in {encoding}: {error}") from None
    except UNPACKING as error:
        raise UserError(f"{name} cannot be unpacked after row {rows}: {error}") from None
    return rows


def _write_texts(files: list[Named], target: Path, column: str, entry: dict) -> list[SourceFile]:
    taken, wrong = [], dict[str, tuple[str, str]]()  # by name, which row, and why
    with target.open("xb", PART_BYTES) as out:
        for name, path in files:
            digest, rows = hashlib.sha256(), 0
            try:
                with path.open("rb") as file:
                    parts = in_utf8(parts_of(file, path, digest), entry.get("encoding"))
                    pieces = _pieces(parts, entry.get("separator"), entry.get("strip", False))
                    for piece in pieces:
                        text = piece.decode()
                        out.write(json_line(column, text.strip() if entry.get("strip") else text))
                        rows += 1
            except UnicodeError as error:
                wrong[name] = f"row {rows + 1} of {name}", str(error)
                continue
            taken.append(source_file(path, name, rows, digest.hexdigest()))
    if wrong:
        raise UserError(_no_text(wrong, len(files), entry.get("encoding") or "UTF-8"))
    return taken


def _no_text(wrong: dict[str, tuple[str, str]], files: int, encoding: str) -> str:
    """What is said of files that are not in this encoding: all of them, and the first place."""
    place, why = next(iter(wrong.values()))
    several = f"{len(wrong):,} of {files:,} files are not {encoding}: {', '.join(wrong)}; "
    return (
        f"{several if len(wrong) > 1 else ''}{place} is not {encoding} ({why}); correct that file, "
        "or let `encoding:` in params.yaml say what the files are"
    )


def in_utf8(parts: Iterable[bytes], encoding: str | None) -> Iterator[bytes]:
    """The bytes of a text file, in parts, as UTF-8; None if they are. UnicodeError if not."""
    if encoding is None:
        yield from parts
        return
    decoder = getincrementaldecoder(encoding)("strict")
    for part in parts:
        yield decoder.decode(part).encode()
    yield decoder.decode(b"", final=True).encode()


def _pieces(parts: Iterable[bytes], separator: str | None, strip: bool = False) -> Iterator[bytes]:
    """The documents of a text file: all of it, or what the separator ends (the last may go on)."""
    parts = without_mark(parts)
    if not separator:
        yield b"".join(parts)
        return
    mark, rest = separator.encode(), bytearray()
    for part in parts:
        rest += part
        if rest.find(mark, max(0, len(rest) - len(part) - len(mark) + 1)) >= 0:
            *pieces, last = bytes(rest).split(mark)
            yield from pieces
            rest = bytearray(last)
    if rest.strip() if strip else rest:
        yield bytes(rest)
