"""How does text at URLs become a dataset? It is listed and counted, and stays where it is.

In: an entry whose `files` are URLs, or patterns of them. Out: nothing in raw/ but groups.json: for
each split and file its row groups as [documents, bytes of text], None where it has none. Of Parquet
the end of each file is read; JSON Lines, and files on a disk, are read through once.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from slm.core.errors import UserError, check
from slm.core.files import to_json
from slm.core.threads import in_order
from slm.text.by_url.client import check_url, file_system, in_words, is_url
from slm.text.by_url.objects import Object, Start, find, found
from slm.text.columnar import check_column, groups_of
from slm.text.counting import is_array, packed_lines, packing, read_through, source_file
from slm.text.raw import GROUPS, SourceFile, raw_name
from slm.text.taking import kind_by_name

REQUESTS = 16  # at a time, of small ones
MANY_BYTES = 2**24  # to read of a file, from which on cores count
START_BYTES = 2**16
KINDS = ".parquet, and .jsonl and .json, also as .gz or .zst"


class Taken(NamedTuple):
    """What is known of a file."""

    file: SourceFile
    kind: str  # the ending that it would have in raw/
    groups: list[list[int]] | None


def is_by_url(entry: dict) -> bool:
    """Whether an entry's files are URLs; raises UserError if some are, or one cannot be read."""
    files = entry["files"] if entry["kind"] == "files" else {}
    patterns = [pattern for of in files.values() for pattern in listed(of)]
    urls = [pattern for pattern in patterns if is_url(pattern)]
    for url in urls:
        check_url(url)
    if urls and len(urls) < len(patterns):
        other = next(pattern for pattern in patterns if not is_url(pattern))
        raise UserError(f"files: {urls[0]} is a URL and {other} is not; take two datasets")
    return bool(urls)


def take_urls(entry: dict, _source: Path, raw: Path) -> tuple[dict, dict]:
    """Fills `raw`; returns what identifies the source, and its splits as source.json holds them.

    Raises UserError, which names the URL, where a file cannot be read or is not text.
    """
    column = entry.get("column", "text")
    check(column is not None, "column is null; name the one with text: `column:` in params.yaml")
    objects = {split: find_objects(listed(urls)) for split, urls in entry["files"].items()}
    _refuse_shared(objects)
    splits, groups = {}, {}
    for split, own in objects.items():
        taken = _all_taken(split, own, column)
        kinds = enumerate(one.kind for one in taken)
        names = [raw_name(split, number, len(taken), kind) for number, kind in kinds]
        splits[split] = {"raw": names, "files": [one.file for one in taken]}
        groups[split] = [one.groups for one in taken]
    (raw / GROUPS).write_bytes(to_json(groups))
    return {"column": column}, splits


def find_objects(patterns: list[str]) -> list[Object]:
    """Returns what matches, pattern after pattern, each pattern's in sorted order."""
    objects: dict[str, Object] = {}
    for pattern in patterns:
        for one in _matching(pattern) if set("*?[") & {*pattern} else [_object(pattern)]:
            check(
                kind_by_name(one.url) in (".parquet", ".json"),
                f"{one.url} is of no kind that is read by URL ({KINDS}); put it into source/",
            )
            objects[one.url] = one
    return [*objects.values()]


def _object(url: str) -> Object:
    about = find(url)
    return Object(url, about.bytes, about.etag)


def _matching(pattern: str) -> Iterator[Object]:
    client = file_system(pattern)
    with in_words(pattern):
        matched = client.glob(pattern, detail=True)
    files = {client.unstrip_protocol(name): about for name, about in matched.items()
             if about.get("type") != "directory" and not name.endswith("/")}  # fmt: skip
    check(files != {}, f"files: {pattern} matches nothing; correct the pattern in params.yaml")
    for url in sorted(files):
        about = found(url, files[url])
        yield Object(url, about.bytes, about.etag)


def _refuse_shared(objects: dict[str, list[Object]]) -> None:
    """Raises UserError at a file of two splits: documents would repeat."""
    taken: dict[str, str] = {}
    for split, own in objects.items():
        for one in own:
            other = taken.setdefault(one.url, split)
            check(other == split, f"files: {one.url} is of {other} and of {split}; choose one")


def _all_taken(split: str, objects: list[Object], column: str) -> list[Taken]:
    read = sum(one.bytes for one in objects if not _is_counted_by_its_end(one))
    workers = REQUESTS if read < MANY_BYTES * len(objects) else os.cpu_count() or 1
    made = in_order(lambda one: _taken(one, column), objects, workers)
    bar = tqdm(made, f"{split} files", len(objects), delay=2, disable=None)
    return [*bar]


def _is_counted_by_its_end(one: Object) -> bool:
    return kind_by_name(one.url) == ".parquet" and one.etag is not None


def _taken(one: Object, column: str) -> Taken:
    about: dict[str, int | str] = {"bytes": one.bytes} | ({"etag": one.etag} if one.etag else {})
    if kind_by_name(one.url) == ".parquet":
        groups = parquet_groups(one, column)
        rows = sum(documents for documents, _ in groups)
        content = {} if one.etag else {"sha256": read_through(one)[0]}
        named = {"name": one.url, "rows": rows, **content, **about}
        return Taken(named, ".parquet", groups)  # type: ignore[arg-type]
    with one.open(ahead=False) as file:
        start = Start(one.name, file.read(START_BYTES))
    check(not is_array(start), f"{one.url} is a JSON array, and lines are read by URL; put the "
          "file into source/, or write its objects as lines")  # fmt: skip
    whole: Any = start if one.bytes <= START_BYTES else one  # a small file is asked for once
    kind = packing(start)
    plain = kind == ".jsonl"
    sha256, lines = read_through(whole) if plain or not one.etag else ("", 0)
    rows = lines if plain else packed_lines(whole, one.url, kind)
    line: dict[str, Any] = {**source_file(start, one.url, rows, sha256), **about}
    return Taken({k: v for k, v in line.items() if v != ""}, kind, None)  # type: ignore[arg-type]


def parquet_groups(one: Object, column: str) -> list[list[int]]:
    """Returns documents and bytes of text of each row group; UserError where it has no text."""
    try:
        with one.open(ahead=False) as file, pq.ParquetFile(file) as opened:
            about, schema = opened.metadata, opened.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{one.url}, {one.bytes:,} bytes, is no Parquet: {error}") from None
    check_column(schema, one.url, column)
    return groups_of(about, column)


def listed(patterns: str | list[str]) -> list[str]:
    """The patterns of a split, of which params.yaml may have one or several."""
    return patterns if isinstance(patterns, list) else [patterns]
