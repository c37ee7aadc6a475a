"""How do a dataset's documents become files of ids?

In: raw/ and a vocabulary. Out: tokens/: for each split `<split>.ids` (the ids of all documents end
to end, little-endian, with the vocabulary's dtype) and `<split>.totals` ((documents + 1, 2)
little-endian uint64: offsets in tokens and in UTF-8 bytes), or, where a split is several units,
such files for each (`train-00000-of-00012.ids`); and tokens.json (slm.core.formats). No byte
depends on engine, workers or block size, nor on who made which unit, and when.
"""

import shutil
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

from tqdm import tqdm

from slm.core.files import link_or_copy, to_json
from slm.core.formats import Tokens, TokenSplit
from slm.text.blocks import BLOCK_BYTES
from slm.text.raw import read_source
from slm.text.units import Unit, all_units
from slm.tokens.reference import Encoding
from slm.tokens.tokenizer import encoder
from slm.tokens.units.identity import identity
from slm.tokens.units.making import FILES, Work, make_missing, read_entry
from slm.tokens.vocabulary import describe

Make = Callable[[list[Unit], Path], object]  # makes units in a folder, those that are not there


def make_tokens(
    raw: Path,
    encoding: Encoding,
    out: Path,
    engine: str,
    workers: int,
    block_bytes: int = BLOCK_BYTES,
    known: Path | None = None,
) -> dict[str, TokenSplit]:
    """Fills the empty folder `out` with the tokens of every split, each one unit, made here.

    `engine` and `known` are as in slm.tokens.tokenizer, `workers` is the number of encoding
    threads, `block_bytes` the size of a block of text. Returns `splits` of tokens.json. Raises
    UserError, which names file and row, at the first document that cannot be encoded.
    """
    work = Work(raw, encoding, encoder(engine, encoding, known), workers, block_bytes)
    below = out / "units"
    splits = tokens_in_units(raw, encoding, out, below, None, lambda *all_: in_turn(work, *all_))
    shutil.rmtree(below)
    return splits


def tokens_in_units(
    raw: Path, encoding: Encoding, out: Path, below: Path, unit_bytes: int | None, make: Make
) -> dict[str, TokenSplit]:
    """Fills the empty folder `out` with the tokens of every split; returns `splits` of tokens.json.

    `below` is where finished units wait until all are, in a folder of their own; `unit_bytes` is of
    slm.text.units, and `make` makes them.
    """
    units, folder = all_units(raw, unit_bytes), folder_of(below, raw, encoding, unit_bytes)
    make(units, folder)
    source: dict[str, Any] = dict(read_source(raw))
    files = {split: entry["files"] for split, entry in source.pop("splits").items()}
    groups = groupby(units, key=lambda unit: unit.split)
    splits = {split: _collected(out, [*own], folder) for split, own in groups}
    content: Tokens = {
        "source": {**source, "files": files},
        "vocabulary": describe(encoding),
        "splits": splits,
    }
    (out / "tokens.json").write_bytes(to_json(content))
    return splits


def folder_of(below: Path, raw: Path, encoding: Encoding, unit_bytes: int | None) -> Path:
    """Returns the folder of these units, in `below`."""
    return below / identity(dict(read_source(raw)), describe(encoding), unit_bytes)


def in_turn(work: Work, units: list[Unit], folder: Path) -> None:
    """Makes units one after another, each on all threads."""
    for split, group in groupby(units, key=lambda unit: unit.split):
        own = [*group]
        with documents_bar(split, own) as bar:
            for unit in own:
                make_missing(work, unit, folder, bar.update)


def documents_bar(name: str, units: list[Unit]) -> tqdm:
    """Returns a progress bar over the documents of these units."""
    total = sum(unit.documents for unit in units)
    return tqdm(desc=name, total=total, unit="doc", delay=2, disable=None)


def _collected(out: Path, units: list[Unit], folder: Path) -> TokenSplit:
    """Links the files of all units of a split into `out`; returns its entry."""
    entries = [read_entry(folder, unit) for unit in units]
    for unit in units:
        for name in FILES:
            link_or_copy(folder / unit.name / name, out / f"{unit.name}.{name}")
    if len(entries) == 1:
        return entries[0]
    lossy = [entry.pop("lossy_documents") for entry in entries if "lossy_documents" in entry]
    made: TokenSplit = {
        "tokens": sum(entry["tokens"] for entry in entries),
        "documents": sum(entry["documents"] for entry in entries),
        "bytes": sum(entry["bytes"] for entry in entries),
    }
    if lossy:
        made["lossy_documents"] = sum(lossy)
    return {**made, "units": entries}
