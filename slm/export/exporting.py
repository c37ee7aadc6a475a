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


def verify(bins: Bins, to: str, out: Path) -> None:
    """Reads an export back, as its reader does; raises UserError where it is not these bins."""
    chosen = FORMATS[to]
    for split in bins.manifest["splits"]:
        if to == "webtext":
            same = _same_texts(bins, out, split)
        else:
            same = _equal(chosen.ids(out, bins, split), id_parts(bins, split))
            if hasattr(chosen, "ends"):
                expected = (end for _, end in bounds(bins, split))
                same = same and _equal(chosen.ends(out, bins, split), expected)
        check(
            same,
            f"{out} does not give back {split} of these bins; `rm -r {out}`, then export again",
        )


def _same_texts(bins: Bins, out: Path, split: str) -> bool:
    documents = bins.manifest["splits"][split]["documents"]
    starts = range(0, documents, webtext.ROWS)
    expected = (webtext.texts_of(bins, split, i, min(i + webtext.ROWS, documents)) for i in starts)
    pairs = zip_longest(webtext.texts(out, bins, split), chain.from_iterable(expected))
    return all(a == b for a, b in pairs)


def _equal(a: Iterator[np.ndarray], b: Iterator[np.ndarray]) -> bool:
    """Whether two sequences of values, in parts of any length, are the same."""
    rest_a, rest_b = np.empty(0, np.int64), np.empty(0, np.int64)
    while True:
        rest_a = rest_a if len(rest_a) else next(a, rest_a)
        rest_b = rest_b if len(rest_b) else next(b, rest_b)
        size = min(len(rest_a), len(rest_b))
        if not size:
            return len(rest_a) == len(rest_b)
        if not np.array_equal(rest_a[:size], rest_b[:size]):
            return False
        rest_a, rest_b = rest_a[size:], rest_b[size:]
