"""Is there room on the disks for the whole way, from the text to the bins?

Tokens are counted where pins.json has their number, else they are told from the sizes of files.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

from slm.core.errors import check
from slm.text.taking import kind_by_name

# Bytes of tokens (2 each) by byte of file: the first ending that fits. GPT-2 makes a token of about
# 4 bytes of English, and Parquet halves the text, gzip and zstd take a third of it.
TOKEN_BYTES = {".parquet": 1.0, ".gz": 1.5, ".zst": 1.5, "": 0.5}
SMALL = 10**8  # bytes that files of one's own may need without being counted beforehand
COPIES = 3  # of the tokens, in BUILT
BUILT = "tokens, bins and DVC's cache"
ELSEWHERE = ", or set HF_HOME to a folder on another disk"


def token_bytes(files: list, tokens: int | None) -> int:
    """How large a split's tokens will be: 2 bytes each where they are pinned, else by the files.

    A byte of Parquet gives 1 byte, of a packed file 1.5, of another 0.5.
    """
    if tokens is not None:
        return 2 * tokens
    return int(sum((file.bytes or 0) * _token_bytes(file.name) for file in files))


def _token_bytes(name: str) -> float:
    return next(size for ending, size in TOKEN_BYTES.items() if name.endswith(ending))


def written_bytes(files: list) -> int:
    """How much text raw/ gets of files that are not linked, by their names: CSV and .txt."""
    written = [file for file in files if kind_by_name(file.name) in (".csv", ".txt")]
    return 2 * token_bytes(written, None)


def check_room(
    path: str, download: int, size: int, tokens: int, dataset: Path, written: int = 0
) -> None:
    """Raise UserError unless the disks have room for the whole way to the bins.

    In bytes: `download` into the cache; `size` of the files again in raw/, where that is on another
    disk than the cache (on one disk they are hard links, but for `written`); three times `tokens`:
    tokens/, bins/ and DVC's cache. What tokens/ and bins/ of the folder `dataset` hold already will
    be replaced, and is taken off, bins/ twice for DVC's copy.
    """
    cache, here = _existing(hub_cache()), _existing(dataset)
    built = _built(tokens, dataset)
    if cache.stat().st_dev == here.stat().st_dev:
        text = f"{gb(written)} of text, " if written else ""
        parts = f"{gb(download)} to download, {text}{gb(built)} of {BUILT}"
        needs = [(here, download + written + built, parts)]
    else:
        parts = f"{gb(size)} of text, {gb(built)} of {BUILT}"
        needs = [(cache, download, "to download"), (here, size + built, parts)]
    for folder, need, parts in needs:
        _check_free(folder, need, f"{path} needs", parts, ELSEWHERE)


def check_room_of(source: Path, names: list[str], dataset: Path) -> None:
    """As check_room, for files of the user's own: raw/ links to them, or has their text."""
    files = [Of(name, (source / name).stat().st_size) for name in names]
    linked = source.stat().st_dev == _existing(dataset).stat().st_dev
    text = written_bytes(files) if linked else sum(file.bytes for file in files)
    built = _built(token_bytes(files, None), dataset)
    if text + built > SMALL:
        parts = f"{gb(text)} of text, {gb(built)} of {BUILT}"
        _check_free(dataset, text + built, f"{source} needs about", parts)


def _check_free(folder: Path, need: int, what: str, parts: str, or_else: str = "") -> None:
    """Raise UserError unless the disk of `folder` has so many bytes free, which are for `parts`."""
    free = shutil.disk_usage(folder).free
    check(
        need <= free,
        f"{what} {gb(need)} on the disk of {folder} ({parts}), and {gb(free)} are free; free some "
        f"space{or_else}",
    )


class Of(NamedTuple):
    """A file by its name, and how large it is."""

    name: str
    bytes: int


def _built(tokens: int, dataset: Path) -> int:
    """What tokens/, bins/ and DVC's copy of these will take more than they do."""
    return max(0, COPIES * tokens - _size(dataset / "tokens") - 2 * _size(dataset / "bins"))


def gb(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def hub_cache() -> Path:
    """Where huggingface_hub keeps what it downloads."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _existing(folder: Path) -> Path:
    return next(f for f in (folder.absolute(), *folder.absolute().parents) if f.exists())


def _size(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.glob("*") if f.is_file())
