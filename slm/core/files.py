"""How does a file or a folder land whole?

It is written under another name that carries the process id, flushed to the disk, and renamed
once. So what has its own name is complete, whenever the process or the machine stopped; what a
killed process left behind is removed by the next one that writes the same thing.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from slm.core.errors import UserError

CHUNK_BYTES = 16 * 2**20  # each run of 16 MiB of a file has a SHA-256 of its own


@contextmanager
def landing(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `folder`, whole, when the block ends without an error."""
    _sweep(folder)
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for path in (*temporary.iterdir(), temporary):
            _flush(path)
        _replace(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_file(path: Path, content: bytes) -> None:
    """Write a whole file, or leave the old one as it was."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        _flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _flush(path.parent)


def read_json(path: Path) -> dict:
    """What a stage wrote for the next one; raises UserError where it is missing or damaged."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} not found; `make data` makes it") from None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{path} is damaged; `rm -r {path.parent}`, then `make data`")
    return found


def to_json(content: object) -> bytes:
    """The one way in which we write JSON: UTF-8, keys in the order given, a final line feed."""
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()


class HashedFile:
    """A binary file that is written front to back and hashed as the bytes pass.

    `hashes` has the SHA-256 of each chunk of CHUNK_BYTES, in order, once the file is closed.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=0)
        self._hash = hashlib.sha256()
        self._room = CHUNK_BYTES
        self.size = 0
        self.hashes: list[str] = []

    def write(self, content: bytes | np.ndarray) -> None:
        """Append the bytes of `content`, a C-contiguous buffer."""
        view = memoryview(content).cast("B") if len(content) else memoryview(b"")
        self.size += len(view)
        while len(view):
            part, view = view[: self._room], view[self._room :]
            _write_all(self._file, part)
            self._hash.update(part)
            self._room -= len(part)
            if not self._room:
                self._next_chunk()

    def _next_chunk(self) -> None:
        self.hashes.append(self._hash.hexdigest())
        self._hash, self._room = hashlib.sha256(), CHUNK_BYTES

    def __enter__(self) -> "HashedFile":
        return self

    def __exit__(self, *error: object) -> None:
        if self._room < CHUNK_BYTES:
            self._next_chunk()
        self._file.close()


def chunk_hashes(path: Path) -> list[str]:
    """The SHA-256 of each 16 MiB of a file, computed on all cores."""
    starts = range(0, path.stat().st_size, CHUNK_BYTES)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda start: _hash_of(path, start), starts))


def md5_of(path: Path) -> str:
    """The MD5 of a file's bytes, as DVC names it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def link_or_copy(path: Path, target: Path) -> None:
    """A hard link where the disk allows it, else a copy."""
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


def _write_all(file, view: memoryview) -> None:
    while len(view):
        view = view[file.write(view) :]


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(temporary: Path, folder: Path) -> None:
    """Give `temporary` the name `folder`; for an instant neither the old nor the new has it."""
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
        shutil.rmtree(old, ignore_errors=True)  # another process gave the name; ours is later
    shutil.rmtree(old, ignore_errors=True)
    _flush(folder.parent)


def _sweep(folder: Path) -> None:
    """Remove what killed processes left; what a living one is writing stays."""
    for left in folder.parent.glob(f"{folder.name}.*.tmp"):
        process = left.name.removeprefix(f"{folder.name}.").split(".")[0]
        if process == str(os.getpid()) or not alive(process):
            shutil.rmtree(left, ignore_errors=True)


def alive(process: str) -> bool:
    """Whether a process with this id is at work."""
    import psutil  # the training side does without it

    try:  # a zombie has ended: nobody may ever reap it in a container without an init
        return psutil.Process(int(process)).status() != psutil.STATUS_ZOMBIE
    except (ValueError, psutil.NoSuchProcess):
        return False
    except psutil.AccessDenied:
        return True
