"""How do files of the user's own become raw/ files?

In: globs relative to the dataset's source/ folder, a column, for .txt a separator.
Out: Parquet, Arrow and JSON Lines linked as they are; each run of .txt files as one of JSON Lines.
Order: pattern after pattern as given, each pattern's names sorted, so the same on every machine.
"""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from slm.core.errors import UserError, check
from slm.core.files import link_or_copy
from slm.text.arrays import texts
from slm.text.columnar import arrow_rows, parquet_rows
from slm.text.counting import is_array, packed_lines, packing, read_through, source_file
from slm.text.csv_files import csv_texts
from slm.text.finding import find_files, refuse_shared
from slm.text.raw import (
    PART_BYTES,
    UNPACKING,
    SourceFile,
    json_line,
    parts_of,
    raw_name,
    unpacked,
    without_mark,
)

POINTER = b"version https://git-lfs.github.com/spec/"  # begins a file that stands for another
KINDS = ".parquet, .arrow, .txt, and .jsonl, .json and .csv, also as .gz or .zst"
WRITTEN = (".json", ".csv")  # JSON arrays and CSV, which become JSON Lines in raw/


def take_files(entry: dict, source: Path, raw: Path) -> tuple[dict, dict]:
    """Fill `raw`; return what identifies the source, and its splits as source.json holds them.

    Raises UserError, which names file and row, where a file cannot be read or is not text.
    """
    column = entry.get("column", "text")
    check(column is not None, "column is null; name the one with text: `column:` in params.yaml")
    actual = {split: find_files(source, globs) for split, globs in entry["files"].items()}
    refuse_shared(source, actual)
    splits = {}
    for split, names in actual.items():
        runs = _runs(source, names)
        files, raws = [], []
        for number, (kind, run) in enumerate(runs):
            ending = ".jsonl" if kind in WRITTEN else kind
            target = raw / raw_name(split, number, len(runs), ending)
            raws.append(target.name)
            files += _take(kind, source, run, target, column, entry)
        splits[split] = {"raw": raws, "files": files}
    cut = {key: entry[key] for key in ("separator", "strip") if entry.get(key)}
    return {"column": column, **cut}, splits


def _runs(source: Path, names: list[str]) -> list[tuple[str, list[str]]]:
    """One raw file for each file that is linked, and one for each run of .txt files."""
    runs: list[tuple[str, list[str]]] = []
    for kind, group in groupby(names, lambda name: _kind(source, name)):
        run = [*group]
        runs += [(".jsonl", run)] if kind == ".txt" else [(kind, [name]) for name in run]
    return runs


def _kind(source: Path, name: str) -> str:
    """The ending in raw/ of a file: of JSON Lines by how its first bytes say that it is packed."""
    if name.endswith((".parquet", ".arrow", ".txt")):
        return Path(name).suffix
    stem = name.removesuffix(".gz").removesuffix(".zst")
    if stem.endswith(".csv"):
        return ".csv"
    lines = stem.endswith((".jsonl", ".json"))
    check(lines, f"files: {name} is of no kind that is read here ({KINDS})")
    return ".json" if is_array(source / name) else packing(source / name)


def _take(
    kind: str, source: Path, names: list[str], target: Path, column: str, entry: dict
) -> list[SourceFile]:
    for name in names:
        with (source / name).open("rb") as file:
            pointer = file.read(len(POINTER)) == POINTER
        check(not pointer, f"{name} is a pointer of Git LFS; `git lfs pull` brings it")
    if names[0].endswith(".txt"):
        return _write_texts(source, names, target, column, entry)
    path = source / names[0]
    sha256, lines = read_through(path)
    if kind in WRITTEN:
        rows = _write_rows(path, names[0], target, column, kind)
        return [source_file(path, names[0], rows, sha256)]
    if kind == ".parquet":
        lines = parquet_rows(path, names[0], column)
    elif kind == ".arrow":
        lines = arrow_rows(path, names[0], column)
    elif kind != ".jsonl":
        lines = packed_lines(path, names[0], kind)
    link_or_copy(path, target)
    return [source_file(path, names[0], lines, sha256)]


def _write_rows(path: Path, name: str, target: Path, column: str, kind: str) -> int:
    """Write the rows of a JSON array or of a CSV file as JSON Lines; how many there are."""
    rows = 0
    try:
        with unpacked(path, packing(path)) as file, target.open("xb", PART_BYTES) as out:
            parts = iter(lambda: file.read(PART_BYTES), b"")
            own = csv_texts(file, column, name) if kind == ".csv" else texts(parts, column, name)
            for rows, text in enumerate(own, 1):  # noqa: B007
                out.write(json_line(column, text))
    except UNPACKING as error:
        raise UserError(f"{name} cannot be unpacked after row {rows}: {error}") from None
    return rows


def _write_texts(
    source: Path, names: list[str], target: Path, column: str, entry: dict
) -> list[SourceFile]:
    files = []
    with target.open("xb", PART_BYTES) as out:
        for name in names:
            digest, rows = hashlib.sha256(), 0
            with (source / name).open("rb") as file:
                parts = parts_of(file, source / name, digest)
                pieces = _pieces(parts, entry.get("separator"), entry.get("strip", False))
                for rows, piece in enumerate(pieces, 1):
                    text = _decoded(piece, rows, name)
                    out.write(json_line(column, text.strip() if entry.get("strip") else text))
            files.append(source_file(source / name, name, rows, digest.hexdigest()))
    return files


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


def _decoded(piece: bytes, row: int, name: str) -> str:
    try:
        return piece.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"row {row} of {name} is not UTF-8 ({error}); correct that file") from None
