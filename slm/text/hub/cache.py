"""What is in the hub's cache on this machine?

The cache is huggingface_hub's own (`HF_HOME`): blobs by hash, and for each commit links to them by
name. Files that are finished are kept in it for the next run; partial ones that no process is
writing are removed; a file whose bytes are wrong is removed, so that the next run fetches it
again. Nothing is written here, and nothing outside the cache is removed.
"""

import hashlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from slm.text.hub.room import gb, hub_cache

# The names of shards are long; with a picture of a bar the rest would not fit into 80 columns.
BAR = "{desc} {n_fmt}/{total_fmt} {rate_fmt} {remaining} left"


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


def _folder(path: str) -> Path:
    return hub_cache() / f"datasets--{path.replace('/', '--')}"


def sweep(path: str) -> None:
    """Remove partial files of a dataset that no living process holds the client's lock for."""
    from filelock import FileLock, Timeout

    folder = _folder(path)
    for partial in folder.glob("blobs/*.incomplete"):
        lock = hub_cache() / ".locks" / folder.name / f"{partial.name.split('.')[0]}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(lock, timeout=0):
                partial.unlink(missing_ok=True)
        except (Timeout, NotImplementedError):  # at work; or a disk without locks: leave it
            continue


def discard(file: Path) -> None:
    """Remove a file from the cache: the links that lead to its bytes, and the bytes."""
    root = hub_cache().resolve()
    while file.is_symlink():
        link, file = file, file.parent / file.readlink()
        link.unlink()
    if file.resolve().is_relative_to(root):
        file.unlink(missing_ok=True)


def say(path: str, files: list, download: int) -> None:
    """Say on standard error how much will be downloaded."""
    size = sum(file.bytes or 0 for file in files)
    there = f" (of which {gb(size - download)} are in the cache)" if download < size else ""
    print(f"downloading {len(files)} files, {gb(size)}{there} to {_folder(path)}", file=sys.stderr)


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
