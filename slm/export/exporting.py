"""How do bins become another reader's files, and are they what it reads?

In: opened bins, a format, a folder. Out: the folder, whole or not at all, with the format's files
and slm-version.txt, which says of which bins they are and lists them. What was exported of these
bins before stays; of others it is replaced. A folder that has anything else is refused.
"""

from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from slm.bins.opening import Bins
from slm.bins.reading import id_parts
from slm.core.errors import check
from slm.core.files import flush, landing
from slm.export import arrow, datatrove, litdata, llmc, megatron, nanogpt, olmo, webtext
from slm.export.parts import Made, Options, bounds

FORMATS: dict[str, ModuleType] = {
    "nanogpt": nanogpt,
    "llmc": llmc,
    "megatron": megatron,
    "datatrove": datatrove,
    "olmo": olmo,
    "litdata": litdata,
    "arrow": arrow,
    "webtext": webtext,
}
NOTE = "slm-version.txt"
MOST = 2**23  # ids that are compared at a time


class Exported(NamedTuple):
    """What was exported."""

    files: list[Made]
    new: bool  # False if all was there


def export(bins: Bins, to: str, out: Path, options: Options) -> Exported:
    """Exports bins into the folder `out`; raises UserError if the reader would misread them."""
    check(to in FORMATS, f"TO is {to!r}, expected one of {', '.join(FORMATS)}")
    chosen = FORMATS[to]
    chosen.refuse(bins, options)
    head = _head(bins, to, options)
    if (there := _there(out, head)) is not None:
        return Exported(there, False)
    with landing(out) as folder:
        files = list(chosen.write_files(bins, folder, options))
        for inner in (path for path in folder.iterdir() if path.is_dir()):
            for path in inner.iterdir():
                flush(path)
        (folder / NOTE).write_text(_note(folder, head, files), encoding="utf-8")
    return Exported(files, True)


def exported(bins: Bins, to: str, above: Path) -> Path:
    """Returns the folder of an export in `above`; raises UserError if it is not of these bins."""
    check(to in FORMATS, f"TO is {to!r}, expected one of {', '.join(FORMATS)}")
    note = above / to / NOTE
    lines = note.read_text(encoding="utf-8").splitlines() if note.is_file() else []
    same = lines[:1] == [bins.version]
    check(same, f"{above / to} is no export of these bins; `make export TO={to}` makes one")
    return above / to


def _head(bins: Bins, to: str, options: Options) -> str:
    """The first lines of slm-version.txt: what follows from bins and command alone."""
    about = bins.manifest["tokenizer"]
    hashes = [f"{key} {about[key]}" for key in ("ranks_sha256", "file_sha256") if key in about]
    words = {"READER": options.reader, "SHARD_TOKENS": options.shard_tokens}
    words |= {"BYTES": 1} if options.token_bytes else {}
    more = "".join(f" {key}={value}" for key, value in words.items() if value is not None)
    return (
        f"{bins.version}\n"
        f"end of text: {bins.manifest['end_of_text']}\n"
        f"vocabulary: {about['encoding']}, {about['vocab_size']} ids, {', '.join(hashes)}\n"
        f"made by: make export TO={to} DATASET={bins.manifest['dataset']['name']}{more}\n"
    )


def _note(folder: Path, head: str, files: list[Made]) -> str:
    lines = (f"{made.how} {(folder / made.name).stat().st_size} {made.name}\n" for made in files)
    return head + "".join(lines)


def _there(out: Path, head: str) -> list[Made] | None:
    """What was exported, if it is all there and of these bins; UserError if others' files are."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    check(
        out.is_dir() and (out / NOTE).is_file(),
        f"{out} is there and no export; choose another OUT=",
    )
    text = (out / NOTE).read_text(encoding="utf-8", errors="replace")
    lines = [line.split(" ", 2) for line in text.splitlines()[head.count("\n") :]]
    listed = {line[2]: line[:2] for line in lines if len(line) == 3}
    found = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    strays = sorted(found - {NOTE, *listed})
    check(not strays, f"{out / strays[0] if strays else ''} is not of the export; move it away, or "
          "choose another OUT=")  # fmt: skip
    sizes = {name: str((out / name).stat().st_size) for name in found & listed.keys()}
    whole = all(sizes.get(name) == size for name, (_, size) in listed.items())
    if not (text.startswith(head) and whole):
        return None
    return [Made(name, how) for name, (how, _) in listed.items()]


def verify(bins: Bins, to: str, out: Path, options: Options) -> None:
    """Reads an export back, as its reader does; raises UserError where it is not these bins."""
    chosen, cure = FORMATS[to], f"`rm -r {out}`, then export again"
    for split in bins.manifest["splits"]:
        if to == "webtext":
            same = _same_texts(webtext.texts(out, split), bins, [split])
        else:
            same = _equal(chosen.ids(out, bins, split, options), id_parts(bins, split))
        if hasattr(chosen, "ends"):
            expected = (end for _, end in bounds(bins, split))
            same = same and _equal(chosen.ends(out, bins, split), expected)
        check(same, f"{out} does not give back {split} of these bins; {cure}")
    if to == "webtext":
        splits = [split for split in webtext.PARQUET if split in bins.manifest["splits"]]
        same = _same_texts(webtext.parquet_texts(out), bins, splits)
        check(same, f"the Parquet in {out} does not give back these bins; {cure}")


def _same_texts(found: Iterator[str], bins: Bins, splits: list[str]) -> bool:
    expected = (
        webtext.texts_of(bins, split, first, min(first + webtext.ROWS, documents))
        for split in splits
        for documents in [bins.manifest["splits"][split]["documents"]]
        for first in range(0, documents, webtext.ROWS)
    )
    try:
        return all(a == b for a, b in zip_longest(found, chain.from_iterable(expected)))
    except (ValueError, OSError):  # no JSON, no Parquet
        return False


def _equal(a: Iterator[np.ndarray], b: Iterator[np.ndarray]) -> bool:
    """Whether two sequences of values, in parts of any length, are the same."""
    none = np.empty(0, np.int64)
    a, b = (part for part in a if len(part)), (part for part in b if len(part))
    rest_a, rest_b = next(a, none), next(b, none)
    while size := min(len(rest_a), len(rest_b)):
        if not np.array_equal(rest_a[:size], rest_b[:size]):
            return False
        rest_a = rest_a[size:] if len(rest_a) > size else next(a, none)
        rest_b = rest_b[size:] if len(rest_b) > size else next(b, none)
    return len(rest_a) == len(rest_b)
