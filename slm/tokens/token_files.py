"""How do a dataset's documents become files of ids?

In: raw/ and a vocabulary. Out: tokens/: for each split `<split>.ids` (the ids of all documents end
to end, little-endian, with the vocabulary's dtype) and `<split>.totals` ((documents + 1, 2)
little-endian uint64: offsets in tokens and in UTF-8 bytes), or, where a split is several units,
such files for each (`train-00000-of-00012.ids`); and tokens.json (slm.core.formats). No byte
depends on engine, workers or block size, nor on which units were finished before.
"""

import shutil
from itertools import groupby
from pathlib import Path
from typing import Any

from tqdm import tqdm

from slm.core.errors import UserError
from slm.core.files import chunk_hashes, link_or_copy, read_json, to_json
from slm.core.formats import Tokens, TokenSplit
from slm.text.blocks import BLOCK_BYTES
from slm.text.raw import read_source
from slm.text.units import Unit, all_units
from slm.tokens.reference import Encoding
from slm.tokens.tokenizer import encoder
from slm.tokens.units.identity import identity
from slm.tokens.units.making import ENTRY, Work, make_unit
from slm.tokens.vocabulary import describe


def make_tokens(
    raw: Path,
    encoding: Encoding,
    out: Path,
    engine: str,
    workers: int,
    block_bytes: int = BLOCK_BYTES,
    known: Path | None = None,
    unit_bytes: int | None = None,
    kept: Path | None = None,
) -> dict[str, TokenSplit]:
    """Fills the empty folder `out` with the tokens of every split; returns `splits` of tokens.json.

    `engine` and `known` are as in slm.tokens.tokenizer, `workers` is the number of encoding
    threads, `block_bytes` the size of a block of text, `unit_bytes` that of a unit, or None for one
    a split. In `kept` finished units wait until all are; those that are there are not made again.
    Raises UserError, which names file and row, at the first document that cannot be encoded.
    """
    work = Work(raw, encoding, encoder(engine, encoding, known), workers, block_bytes)
    units, below = all_units(raw, unit_bytes), kept or out / "units"
    folder = folder_of(below, raw, encoding, unit_bytes)
    splits = dict[str, TokenSplit]()
    for split, group in groupby(units, key=lambda unit: unit.split):
        own = [*group]
        total = sum(unit.documents for unit in own)
        with tqdm(desc=split, total=total, unit="doc", delay=2, disable=None) as bar:
            for unit in own:
                make_missing(work, unit, folder, bar)
        splits[split] = _collected(out, own, folder)
    if kept is None:
        shutil.rmtree(below)
    source: dict[str, Any] = dict(read_source(raw))
    files = {split: entry["files"] for split, entry in source.pop("splits").items()}
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


def make_missing(work: Work, unit: Unit, folder: Path, bar: tqdm) -> bool:
    """Makes a unit in `folder`, unless it is there; returns whether it was made."""
    if _is_finished(folder / unit.name):
        bar.update(unit.documents)
        return False
    make_unit(work, unit, folder, bar)
    return True


def _is_finished(folder: Path) -> bool:
    """Whether a unit is there; a damaged one is removed."""
    if not folder.is_dir():
        return False
    try:
        hashes = read_json(folder / ENTRY)["sha256"]
        if all(chunk_hashes(folder / name) == own for name, own in hashes.items()):
            return True
    except (UserError, OSError, AttributeError, KeyError, TypeError):
        pass
    shutil.rmtree(folder)
    return False


def _collected(out: Path, units: list[Unit], folder: Path) -> TokenSplit:
    """Links the files of all units of a split into `out`; returns its entry."""
    entries: list[TokenSplit] = [read_json(folder / unit.name / ENTRY) for unit in units]
    for unit in units:
        for name in ("ids", "totals"):
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
