"""How does a complete file or folder get its name?

It is written under a temporary name with the process id, flushed to the disk, and renamed once. So
a file that has its final name is complete. The next writer removes what killed processes left.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np

from slm.core.errors import UserError, check
from slm.core.formats import FileEntry

CHUNK_BYTES = 16 * 2**20  # of a file; each chunk has its own SHA-256


@contextmanager
def landing(folder: Path) -> Iterator[Path]:
    """Yields an empty folder; it is renamed to `folder` if the block ends without an error."""
    _sweep(folder)
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for path in (*temporary.iterdir(), temporary):
            flush(path)
        _replace(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_file(path: Path, content: bytes) -> None:
    """Writes a complete file, or leaves the old one unchanged."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    flush(path.parent)


def read_json(path: Path) -> Any:
    """Returns the content of a JSON file; raises UserError if it is missing or corrupt."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} not found; `make data` makes it") from None
    except ValueError:
        content = None
    check(isinstance(content, dict), f"{path} is corrupt; `rm -r {path.parent}`, then `make data`")
    return content


def to_json(content: object) -> bytes:
    """Returns JSON in UTF-8, with keys in the given order and a final line feed."""
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()


class HashedFile:
    """A new binary file; once closed, `hashes` has the SHA-256 of each of its chunks, in order."""

    def __init__(self, path: Path) -> None:
        self._file, self._hash = path.open("xb"), hashlib.sha256()
        self.size, self.hashes = 0, list[str]()

    def write(self, content: bytes | np.ndarray) -> None:
        """Appends the bytes of `content`, which is C-contiguous."""
        if not len(content):
            return
        view = (content.data if isinstance(content, np.ndarray) else memoryview(content)).cast("B")
        while len(view):
            room = CHUNK_BYTES - self.size % CHUNK_BYTES
            part, view = view[:room], view[room:]
            self._file.write(part)
            self._hash.update(part)
            self.size += len(part)
            if len(part) == room:
                self._end_chunk()

    def _end_chunk(self) -> None:
        self.hashes.append(self._hash.hexdigest())
        self._hash = hashlib.sha256()

    def __enter__(self) -> "HashedFile":
        return self

    def __exit__(self, *error: object) -> None:
        if self.size % CHUNK_BYTES:
            self._end_chunk()
        self._file.close()


def write_hashed(path: Path, parts: Iterable[bytes | np.ndarray]) -> FileEntry:
    """Writes the bytes of `parts` end to end into a new file; returns its entry."""
    with HashedFile(path) as file:
        for part in parts:
            file.write(part)
    return {"bytes": file.size, "sha256": file.hashes}


def chunk_hashes(path: Path) -> list[str]:
    """Returns the SHA-256 of each 16 MiB of a file, computed on all cores."""
    starts = range(0, path.stat().st_size, CHUNK_BYTES)
    if len(starts) <= 1:
        return [_hash_of(path, start) for start in starts]  # sooner than a thread starts
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda start: _hash_of(path, start), starts))


def make_writable(folder: Path) -> None:
    """Makes a folder for results; raises UserError before the work if it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; name another folder with --out") from None
    check(os.access(folder, os.W_OK), f"{folder} cannot be written; name another with --out")


def md5_of(path: Path) -> str:
    """Returns the MD5 of a file, in hexadecimal, as DVC does."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def link_or_copy(path: Path, target: Path) -> None:
    """Makes a hard link to `path` if the disk allows it, else a copy."""
    try:
        os.link(path.resolve(), target)
    except OSError:
        shutil.copyfile(path, target)


def _hash_of(path: Path, start: int) -> str:
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        digest, left = hashlib.sha256(), CHUNK_BYTES
        while left and (part := file.read(min(left, 2**20))):
            digest.update(part)
            left -= len(part)
    return digest.hexdigest()


def flush(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(temporary: Path, folder: Path) -> None:
    """Renames `temporary` to `folder`; for an instant no folder has the name."""
    old = folder.with_name(f"{folder.name}.{os.getpid()}.old.tmp")
    while True:
        with suppress(FileNotFoundError):  # a rename cannot replace a folder that has files in it
            folder.rename(old)
        try:
            temporary.rename(folder)
            break
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                with suppress(OSError):
                    old.rename(folder)
                raise
        shutil.rmtree(old, ignore_errors=True)  # another process was faster; replace its folder
    shutil.rmtree(old, ignore_errors=True)
    flush(folder.parent)


def _sweep(folder: Path) -> None:
    """Removes the temporary folders of processes that have ended."""
    for left in folder.parent.glob(f"{escape(folder.name)}.*.tmp"):
        process, *rest = left.name.removeprefix(f"{folder.name}.").split(".")
        ours = process.isdecimal() and rest in (["tmp"], ["old", "tmp"])  # or it is the user's
        if ours and (process == str(os.getpid()) or not alive(process)):
            shutil.rmtree(left, ignore_errors=True)


def alive(process: str) -> bool:
    """Whether a process with this id is running."""
    import psutil  # reading bins works without it

    try:  # a zombie has ended, though a container without an init may never reap it
        return psutil.Process(int(process)).status() != psutil.STATUS_ZOMBIE
    except (ValueError, psutil.NoSuchProcess):
        return False
    except psutil.AccessDenied:
        return True
