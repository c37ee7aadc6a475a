"""What is in the hub's cache on this machine, and is there room for the rest?

The cache is huggingface_hub's own (`HF_HOME`): blobs by hash, and for each commit links to them by
name. Files that are finished are kept in it for the next run; partial ones that no process is
writing are removed; a file whose bytes are wrong is removed, so that the next run fetches it
again. Nothing is written here, and nothing outside the cache is removed.
"""

import hashlib
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from slm.core.errors import UserError
from slm.text.taking import kind_by_name

# Bytes of tokens (2 each) by byte of file: the first ending that fits. GPT-2 makes a token of about
# 4 bytes of English, and Parquet halves the text, gzip and zstd take a third of it.
TOKEN_BYTES = {".parquet": 1.0, ".gz": 1.5, ".zst": 1.5, "": 0.5}
# The names of shards are long; with a picture of a bar the rest would not fit into 80 columns.
BAR = "{desc} {n_fmt}/{total_fmt} {rate_fmt} {remaining} left"
COPIES = 3  # of the tokens: tokens/, bins/ and DVC's cache


def cached(path: str, commit: str, name: str, repo_type: str = "dataset") -> Path | None:
    """Where the cache has a file of a commit, or None."""
    from huggingface_hub import try_to_load_from_cache

    file = try_to_load_from_cache(path, name, revision=commit, repo_type=repo_type)
    return Path(file) if isinstance(file, str) else None


def git_hash(location: Path) -> str:
    """The SHA-1 by which git names a file's bytes: all the hub says where it has no SHA-256."""
    begun = hashlib.sha1(b"blob %d\0" % location.stat().st_size, usedforsecurity=False)
    with location.open("rb") as file:
        return hashlib.file_digest(file, lambda: begun).hexdigest()


def has_blob(path: str, sha256: str | None) -> bool:
    """Whether the cache has these bytes from another commit, so that they need no download."""
    return sha256 is not None and (_folder(path) / "blobs" / sha256).is_file()


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _folder(path: str) -> Path:
    return _cache() / f"datasets--{path.replace('/', '--')}"


def sweep(path: str) -> None:
    """Remove partial files of a dataset that no living process holds the client's lock for."""
    from filelock import FileLock, Timeout

    folder = _folder(path)
    for partial in folder.glob("blobs/*.incomplete"):
        lock = _cache() / ".locks" / folder.name / f"{partial.name.split('.')[0]}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(lock, timeout=0):
                partial.unlink(missing_ok=True)
        except (Timeout, NotImplementedError):  # at work; or a disk without locks: leave it
            continue


def discard(file: Path) -> None:
    """Remove a file from the cache: the links that lead to its bytes, and the bytes."""
    root = _cache().resolve()
    while file.is_symlink():
        link, file = file, file.parent / file.readlink()
        link.unlink()
    if file.resolve().is_relative_to(root):
        file.unlink(missing_ok=True)


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
    cache, here = _existing(_cache()), _existing(dataset)
    built = _built(tokens, dataset)
    if cache.stat().st_dev == here.stat().st_dev:
        text = f"{gb(written)} of text, " if written else ""
        needs = [(here, download + written + built, f"{gb(download)} to download, {text}")]
    else:
        needs = [(cache, download, ""), (here, size + built, f"{gb(size)} of text, ")]
    for folder, need, more in needs:
        free = shutil.disk_usage(folder).free
        if need > free:
            for_bins = f" ({more}{gb(built)} of tokens, bins and DVC's cache)" if more else ""
            raise UserError(
                f"{path} needs {gb(need)} on the disk of {folder}{for_bins}, and {gb(free)} are "
                "free; free some space, or set HF_HOME to a folder on another disk"
            )


def check_room_of(source: Path, names: list[str], dataset: Path) -> None:
    """As check_room, for files of the user's own: raw/ links to them, or has their text."""
    files = [Of(name, (source / name).stat().st_size) for name in names]
    linked = source.stat().st_dev == _existing(dataset).stat().st_dev
    text = written_bytes(files) if linked else sum(file.bytes for file in files)
    built, free = _built(token_bytes(files, None), dataset), shutil.disk_usage(dataset).free
    if text + built > free:
        raise UserError(
            f"{source} needs about {gb(text + built)} on the disk of {dataset} ({gb(text)} of text, "
            f"{gb(built)} of tokens, bins and DVC's cache), and {gb(free)} are free; free some space"
        )


class Of(NamedTuple):
    """A file by its name, and how large it is."""

    name: str
    bytes: int


def _built(tokens: int, dataset: Path) -> int:
    """What tokens/, bins/ and DVC's copy of these will take more than they do."""
    return max(0, COPIES * tokens - _size(dataset / "tokens") - 2 * _size(dataset / "bins"))


def say(path: str, files: list, download: int) -> None:
    """Say on standard error how much will be downloaded."""
    size = sum(file.bytes or 0 for file in files)
    there = f" (of which {gb(size - download)} are in the cache)" if download < size else ""
    print(f"downloading {len(files)} files, {gb(size)}{there} to {_folder(path)}", file=sys.stderr)


def gb(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _existing(folder: Path) -> Path:
    return next(f for f in (folder.absolute(), *folder.absolute().parents) if f.exists())


def _size(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.glob("*") if f.is_file())


@contextmanager
def watched(path: str, name: str, size: int | None) -> Iterator[None]:
    """Show how the one file grows that the client is downloading, where a terminal looks on."""
    name = name.rsplit("/", 1)[-1]
    bar = tqdm(
        desc=name, total=size, unit="B", unit_scale=True, delay=2, disable=None, bar_format=BAR
    )
    done = threading.Event()
    thread = threading.Thread(target=_follow, args=(_folder(path), bar, done), daemon=True)
    with bar:
        if not bar.disable:
            thread.start()
        try:
            yield
        finally:
            done.set()
            if thread.ident:
                thread.join()


def _follow(folder: Path, bar: tqdm, done: threading.Event) -> None:
    while not done.wait(0.2):
        bar.update(max(map(_length, folder.glob("blobs/*.incomplete")), default=bar.n) - bar.n)


def _length(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # finished just now
        return 0
