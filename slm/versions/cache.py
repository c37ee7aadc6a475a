"""What does DVC's local cache hold, and is it intact?

An object is a file at `ab/cdef…`, where abcdef… is the MD5 of its bytes; that of a folder is at
`ab/cdef….dir` and is the JSON list of its files' MD5s and names. DVC knows an object by its name
alone and hands out a corrupt one as well, so here every object is read before it counts, and none
is added that was not.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from slm.core.files import md5_of
from slm.versions.lock import hash_of_list

READ_ONLY = 0o444  # DVC's mode of an object


def object_path(cache: Path, name: str) -> Path:
    """The path of the object called `name`, which may be missing."""
    return cache / name[:2] / name[2:]


def file_list(cache: Path, folder: str) -> dict[str, str] | None:
    """The objects of a folder's files by their names there; None without an intact list."""
    try:
        content = object_path(cache, folder).read_bytes()
    except FileNotFoundError:
        return None
    if hash_of_list(content) != folder:
        return None
    return {entry["relpath"]: entry["md5"] for entry in json.loads(content)}


def is_intact(path: Path, name: str) -> bool:
    """Whether the bytes of a file are those of the object `name`."""
    return md5_of(path) == name.removesuffix(".dir")


def objects_of(cache: Path, folder: str) -> list[str]:
    """The names of a folder's objects as far as they are known here, the list last."""
    return [*(file_list(cache, folder) or {}).values(), folder]


def all_objects(cache: Path) -> list[str]:
    """The names of all objects that are there."""
    names = (path.parent.name + path.name for path in cache.glob("??/*"))
    return sorted(name for name in names if len(name.removesuffix(".dir")) == 32)


def corrupt_objects(cache: Path, names: Iterable[str]) -> list[Path]:
    """Those of the objects `names` that are there with other bytes; read on all cores."""
    paths = {object_path(cache, name): name for name in names}
    there = [path for path in paths if path.is_file()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        intact = list(pool.map(lambda path: is_intact(path, paths[path]), there))
    return [path for path, right in zip(there, intact, strict=True) if not right]


def missing_objects(cache: Path, folder: str) -> list[Path]:
    """The objects of a folder that are missing or corrupt; without its list that one alone."""
    if (files := file_list(cache, folder)) is None:
        return [object_path(cache, folder)]
    names = sorted({*files.values()})
    bad = {*corrupt_objects(cache, names)}
    paths = [object_path(cache, name) for name in names]
    return [path for path in paths if path in bad or not path.is_file()]


def add_object(cache: Path, name: str, write: Callable[[Path], object]) -> bool:
    """Let `write` fill a file, and make it the object `name`; False where its bytes are others."""
    path = object_path(cache, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    # If this process is killed, slm.versions.leftovers removes the file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        if not is_intact(temporary, name):
            return False
        temporary.chmod(READ_ONLY)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        return True
    finally:
        temporary.unlink(missing_ok=True)


def add_folder(cache: Path, folder: Path, content: bytes) -> None:
    """Put what is missing of `folder`, whose list is `content`, into the cache: copies, no links.

    A copy costs its size; of a link one flipped bit would corrupt both names at once. Without its
    list nobody could tell which objects are the folder's, so those may be corrupt unseen.
    """
    entries, name = json.loads(content), hash_of_list(content)
    if not object_path(cache, name).exists():
        for path in corrupt_objects(cache, (entry["md5"] for entry in entries)):
            path.unlink()
    for entry in entries:
        add_copy(cache, folder / entry["relpath"], entry["md5"])
    if not object_path(cache, name).exists():
        add_object(cache, name, lambda path: path.write_bytes(content))


def add_copy(cache: Path, path: Path, name: str) -> None:
    """Copy the file `path` to the object `name`, if that is missing and `path` has its bytes."""
    if path.is_file() and not object_path(cache, name).exists():
        add_object(cache, name, lambda temporary: shutil.copyfile(path, temporary))
