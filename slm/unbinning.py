"""How do bins become tokens again, where tokens/ is not there, as after a pull?

In: a dataset's folder with its bins, whatever their end-of-text. Out: vocabulary/ and tokens/, byte
for byte as the stages before the bins wrote them. dvc.lock is the proof: a folder whose hash is
another than it names is not kept. Nothing is fetched or tokenized, and raw/ is not needed; taking
ids out overlaps with hashing and writing, and memory does not follow the length of the bins.
"""

from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from slm.bins import Bins, dtype_for, open_bins, write_ids
from slm.bpe import write_vocabulary
from slm.errors import UserError
from slm.files import CHUNK_BYTES, HashedFile, chunk_hashes, landing, to_json
from slm.lock import folder_hash, locked_hash
from slm.overlap import ahead
from slm.pins import read_pins
from slm.raw import link
from slm.vocabulary import load_described

STAGES = {"vocabulary": "vocabulary", "tokens": "tokenize"}  # which stage writes which folder


def restore(folder: Path, entry: dict, lock: Path) -> list[str]:
    """Make what is missing of data/<name>/vocabulary and tokens; return the names of both or one.

    `folder` is data/<name> as dvc.lock writes it, `entry` the dataset's in params.yaml. Raises
    UserError, and keeps nothing of that folder, where the bins are missing or damaged, or give
    other bytes than `lock` names.
    """
    missing = [name for name in STAGES if not (folder / name).is_dir()]
    for name in missing:
        with landing(folder / name) as out:
            bins = open_bins(folder / "bins")
            if name == "tokens":
                write_tokens(bins, out, _expected_tokens(entry, folder / "source"))
            else:
                write_vocabulary(out, load_described(bins.manifest["tokenizer"], bins.folder))
            _prove(out, folder / name, lock)
    return missing


def _expected_tokens(entry: dict, source: Path) -> dict:
    """The counts that tokens.json has from a hub set's pins, and that the manifest has not."""
    pins = read_pins(entry, source / "pins.json") if entry["kind"] == "hub" else None
    return {"expected_tokens": pins.tokens} if pins and pins.tokens else {}


def _prove(made: Path, folder: Path, lock: Path) -> None:
    names = [path.name for path in made.iterdir()]
    stage = f"{STAGES[folder.name]}@{folder.parent.name}"
    if folder_hash(made, names) != locked_hash(lock, stage, folder.as_posix()):
        raise UserError(
            f"{folder.parent / 'bins'} does not give back {folder} as {lock} names it: damaged "
            "(`make verify` says), or of another version"
        )


def write_tokens(bins: Bins, out: Path, expected_tokens: dict) -> None:
    """Fill the empty folder `out` with the tokens/ that `bins` were made from.

    `expected_tokens` is what `source` of tokens.json has beyond the manifest's `dataset`, or {}.
    """
    source = {**bins.manifest["dataset"], **expected_tokens}
    source["files"] = source.pop("files")  # last, as the tokenize stage writes it
    content = {
        "source": source,
        "vocabulary": bins.manifest["tokenizer"],
        "splits": {split: _write_split(bins, out, split) for split in bins.manifest["splits"]},
    }
    (out / "tokens.json").write_bytes(to_json(content))


def _write_split(bins: Bins, out: Path, split: str) -> dict:
    found, policy = bins.manifest["splits"][split], bins.manifest["end_of_text"]
    more = 0 if policy == "none" else 1  # ids that a document has in the bin and not in tokens/
    docs, bin_ = _docs(bins, split), bins.folder / f"{split}.bin"
    if more:
        dtype = dtype_for(bins.manifest["tokenizer"]["vocab_size"])
        ids = ahead(without_end_of_text(_chunks(bin_, dtype), docs[:, 0], policy))
        ids_sha256 = write_ids(out / f"{split}.ids", ids, dtype)["sha256"]
    else:
        link(bin_, out / f"{split}.ids")
        ids_sha256 = found["files"][bin_.name]["sha256"]
    with HashedFile(out / f"{split}.totals") as totals:
        for rows in _totals(docs, more):
            totals.write(rows)
    return {
        "tokens": found["tokens"] - more * found["documents"],
        "documents": found["documents"],
        "bytes": found["text_bytes"],
        "sha256": {"ids": ids_sha256, "totals": totals.hashes},
    }


def _docs(bins: Bins, split: str) -> np.ndarray:
    """The offsets, checked first: where one of them is wrong, an id is taken out of nowhere."""
    name = f"{split}.docs.npy"
    if chunk_hashes(bins.folder / name) != bins.manifest["splits"][split]["files"][name]["sha256"]:
        raise UserError(f"{bins.folder / name} is damaged: it is not as {bins.folder}'s manifest")
    return bins.docs(split)


def _chunks(path: Path, dtype: np.dtype) -> Iterator[np.ndarray]:
    """The ids of a bin, 16 MiB at a time; read, since pages of a map would count as memory."""
    size = path.stat().st_size
    bar = tqdm(desc=path.name, total=size, unit="B", unit_scale=True, delay=2, disable=None)
    with bar, path.open("rb", buffering=0) as file:
        while len(chunk := np.fromfile(file, dtype, CHUNK_BYTES // dtype.itemsize)):
            yield chunk
            bar.update(chunk.nbytes)


def without_end_of_text(
    chunks: Iterator[np.ndarray], bounds: np.ndarray, policy: str
) -> Iterator[np.ndarray]:
    """The inverse of slm.binning.with_end_of_text: each document's last ("append") or first id out.

    `bounds` has (documents + 1,) running totals of tokens, from 0, with end-of-text counted. What
    an id says is not asked: a document may hold the id of end-of-text itself.
    """
    places, back = (bounds[1:], 1) if policy == "append" else (bounds[:-1], 0)
    done = read = 0
    for chunk in chunks:
        until = bisect_left(places, read + len(chunk) + back, lo=done)
        yield np.delete(chunk, places[done:until].astype(np.int64) - back - read)
        done, read = until, read + len(chunk)


def _totals(docs: np.ndarray, more: int) -> Iterator[np.ndarray]:
    """Rows of `docs` with `more` tokens less for each document before them."""
    step = CHUNK_BYTES // 16
    for first in range(0, len(docs), step):
        rows = np.array(docs[first : first + step], "<u8")
        rows[:, 0] -= more * np.arange(first, first + len(rows), dtype="<u8")
        yield rows
