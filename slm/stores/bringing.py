"""How does a file of bins come from a URL? Once, whole, and only with the bytes of its hashes.

In: the URL of a folder of bins, a folder of the local store that has its manifest, and names. Out:
these files in that folder. Processes that want the same wait for the one that brings them.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import NamedTuple
from uuid import uuid4

from tqdm import tqdm

from slm.bins.format import MANIFEST
from slm.bins.manifest import (
    Manifest,
    all_names,
    checked_manifest,
    files_of,
    lengths_of,
    read_manifest,
)
from slm.bins.store import filling
from slm.core.errors import UserError, check
from slm.core.files import CHUNK_BYTES, HashedFile, flush
from slm.core.formats import FileEntry
from slm.core.threads import in_order
from slm.text.by_url.client import Gone
from slm.text.by_url.objects import Reading, opened

SENT_AGAIN = "`make verify FIX=1` of that dataset, where these bins were built, sends them again"
Told = Callable[[int], None]
LONGEST = 200  # bytes of a file's name
FILES = 4  # that come at a time


class Far(NamedTuple):
    """Where the files of some bins come from, and where they go."""

    url: str
    folder: Path

    def bring(self, names: Iterable[str] | None) -> None:
        """Brings those of these files (None: of all) that are not here.

        Raises UserError if one cannot be had as the manifest says.
        """
        manifest = read_manifest(self.folder) if names is None else None
        wanted = [*all_names(manifest)] if manifest else [*(names or ())]
        if all((self.folder / name).is_file() for name in wanted):
            return
        with filling(self.folder):
            self._bring([name for name in wanted if not (self.folder / name).is_file()])

    def _bring(self, names: list[str]) -> None:
        for left in self.folder.glob("*.tmp"):  # of a process that was killed: we have the lock
            left.unlink()
        manifest = read_manifest(self.folder)
        lengths = dict(lengths_of(manifest))
        entries = [f"{name.split('.')[0]}.json" for name in names]  # of shards, with the hashes
        first = [name for name in dict.fromkeys(entries) if name in lengths]
        first = [name for name in first if not (self.folder / name).is_file()]
        total = sum(lengths[name] for name in {*first, *names})
        with bytes_bar(self.url.rpartition("/")[2][:12], total) as told:
            for group in (first, [name for name in names if name not in first]):
                known = dict(files_of(self.folder, manifest))
                for _ in in_order(partial(self._bring_one, known, told), group, FILES):
                    pass
        flush(self.folder)

    def _bring_one(self, known: dict[str, FileEntry], told: Told, name: str) -> None:
        entry = known[name]
        temporary = self.folder / f"{name}.{uuid4().hex[:12]}.tmp"
        try:
            with HashedFile(temporary) as file:
                for part in parts(f"{self.url}/{name}"):
                    file.write(part)
                    told(len(part))
            check(
                (file.size, file.hashes) == (entry["bytes"], entry["sha256"]),
                f"{self.url}/{name} has other bytes than the manifest says; {SENT_AGAIN}",
            )
            flush(temporary)
            temporary.rename(self.folder / name)
        except Gone:
            raise UserError(f"{self.url}/{name} is not there; {SENT_AGAIN}") from None
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def bytes_bar(name: str, total: int) -> Iterator[Told]:
    """A progress bar; yields what is told of bytes that are done, by any thread."""
    lock = Lock()
    with tqdm(desc=name, total=total, unit="B", unit_scale=True, delay=2, disable=None) as bar:

        def told(size: int) -> None:
            with lock:
                bar.update(size)

        yield told


def parts(url: str) -> Iterator[bytes]:
    """Yields the bytes of an object in parts of 16 MiB; its hashes say whether they are right."""
    file, about = opened(url, ahead=True)
    with Reading(file, url, about["size"]) as reading:
        while part := reading.read(CHUNK_BYTES):
            yield part


def manifest_at(url: str) -> Manifest:
    """Returns the manifest of the bins at a URL; raises UserError if it has none."""
    path = f"{url}/{MANIFEST}"
    content = b"".join(parts(path))
    try:
        manifest = json.loads(content)
    except ValueError:
        raise UserError(f"{path} is corrupt: not JSON; {SENT_AGAIN}") from None
    manifest = checked_manifest(manifest, path, SENT_AGAIN)
    try:
        names, lengths = all_names(manifest), dict(lengths_of(manifest))
        fine = {MANIFEST, *lengths} == {*names} and manifest["dataset"]["name"] is not None
        check(fine and all(isinstance(size, int) for size in lengths.values()), "no lengths")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path} is no manifest of bins ({error!r}); correct the URL") from None
    for name in names:  # somebody else wrote them
        plain = Path(name).name == name and len(name.encode()) <= LONGEST
        check(plain, f"{path} names a file {name[:99]!r}, so it is none of bins")
    return manifest
