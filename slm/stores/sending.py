"""How do bins go to object storage? Under the hash of their manifest, which goes last.

In: a folder of bins and the URL of a store. Out: <store>/<dataset>/<sha256>/ has all of its files.
What is there with its length is not sent again, and nothing is replaced but by a repair.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from slm.bins.format import MANIFEST, STORE
from slm.bins.manifest import Manifest, all_names, files_of, lengths_of, read_manifest
from slm.bins.store import filling, local_store
from slm.core.errors import UserError, check
from slm.core.files import chunk_hashes, landing, to_json
from slm.core.formats import FileEntry
from slm.core.threads import in_order
from slm.stores.bringing import FILES, Far, Told, bytes_bar, parts
from slm.text.by_url.client import Gone, file_system, in_words

SCHEMES = ("s3", "gs")
BUILD = (
    "remove that object, then `dvc repro --force bins`, with the dataset named in params.yaml, "
    "sends it anew"
)


def check_store(store: object) -> str | None:
    """Returns `bins.store` of params.yaml; raises UserError if it is no place for bins."""
    if store is None:
        return None
    where = urlsplit(store if isinstance(store, str) else "")
    fits = where.scheme in SCHEMES and where.netloc and "@" not in where.netloc
    expected = "null, or a place such as s3://bucket/bins"
    check(bool(fits), f"params.yaml: bins.store is {store!r}, expected {expected}")
    return str(store).rstrip("/")


def send(folder: Path, url: str) -> int:
    """Sends the files of a folder of bins that are not at `url`; returns how many."""
    sizes = {name: (folder / name).stat().st_size for name in all_names(read_manifest(folder))}
    there = _sizes_at(url)
    missing = [name for name, size in sizes.items() if there.get(name) != size]
    if not missing and b"".join(parts(f"{url}/{MANIFEST}")) != (folder / MANIFEST).read_bytes():
        missing = [MANIFEST]
    with bytes_bar("sent", sum(sizes[name] for name in missing)) as told:
        put = partial(_put, folder, url, told)
        for last in (False, True):  # the manifest goes when all that it names is there
            group = [name for name in missing if (name == MANIFEST) is last]
            for _ in in_order(put, group, FILES):
                pass
    return len(missing)


def _sizes_at(url: str) -> dict[str, int]:
    """How long each file at a URL is; none where nothing is there."""
    client = file_system(url)
    with in_words(url):
        try:
            listed = client.ls(url, detail=True)
        except FileNotFoundError:
            return {}
    return {entry["name"].rpartition("/")[2]: entry["size"] for entry in listed}


def _put(folder: Path, url: str, told: Told, name: str) -> None:
    from fsspec.callbacks import Callback

    client, before = file_system(url), 0

    def hook(_size: int | None, value: int, **_: object) -> None:
        nonlocal before
        told(value - before)
        before = value

    with in_words(f"{url}/{name}"):
        told_of = Callback(hooks={"bar": hook})
        client.put_file(str(folder / name), f"{url}/{name}", callback=told_of)


def write_to_store(write: Callable[[Path], Manifest], out: Path, store: str, name: str) -> Manifest:
    """Has `write` fill a folder of the local store with bins, and sends it; returns the manifest.

    The empty folder `out` gets what stands for them. `name` is the dataset's.
    """
    here = hashlib.sha256(str(out.absolute().parent).encode()).hexdigest()[:12]
    new = local_store() / f"new-{name}-{here}"
    with landing(new) as made:
        manifest = write(made)
    folder = new.with_name(manifest["sha256"])
    with filling(folder):  # what is there may be a part of the files, or damaged
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    url = f"{store}/{name}/{manifest['sha256']}"
    send(folder, url)
    shutil.copyfile(folder / MANIFEST, out / MANIFEST)
    (out / STORE).write_bytes(to_json({"url": url}))
    return manifest


def damage_at(url: str, manifest: Manifest, folder: Path) -> Iterator[tuple[str, str]]:
    """Yields the name of each file at a URL that is not as it should be, and a line about it.

    `folder`, of the local store, has the manifest and gets the entries of shards.
    """
    far, entries = Far(url, folder), [name for name in all_names(manifest) if is_entry(name)]
    for name in entries:
        try:
            far.bring([name])
        except UserError as error:
            yield name, str(error)
    files = dict(files_of(folder, manifest))
    files[MANIFEST] = _entry([to_json(manifest)])
    for name, line in in_order(lambda name: (name, _wrong(url, name, files[name])), files, FILES):
        if line:
            yield name, line


def is_entry(name: str) -> bool:
    """Whether a file of bins is the entry of a shard."""
    return name.endswith(".json") and "-of-" in name


def missing_at(url: str, manifest: Manifest) -> list[str]:
    """The names of the files that are not at a URL with their lengths."""
    there = _sizes_at(url)
    lengths = {MANIFEST: len(to_json(manifest)), **dict(lengths_of(manifest))}
    return [name for name, length in lengths.items() if there.get(name) != length]


def _wrong(url: str, name: str, expected: FileEntry) -> str:
    """What is wrong with an object, or nothing."""
    try:
        same = _entry(parts(f"{url}/{name}")) == expected
    except Gone as error:
        return str(error)
    return "" if same else f"{url}/{name} has other bytes than the manifest says"


def _entry(chunks: Iterable[bytes]) -> FileEntry:
    size, hashes = 0, list[str]()
    for chunk in chunks:
        size += len(chunk)
        hashes.append(hashlib.sha256(chunk).hexdigest())
    return {"bytes": size, "sha256": hashes}


def send_again(url: str, manifest: Manifest, names: list[str]) -> None:
    """Replaces these files at a URL by those of the local store, if it has them intact."""
    folder = local_store() / manifest["sha256"]
    known = dict(files_of(folder, manifest))
    known[MANIFEST] = _entry([to_json(manifest)])
    for name in sorted(names, key=lambda name: name == MANIFEST):  # which goes last
        path = folder / name
        entry = known.get(name) if path.is_file() else None
        intact = entry is not None and chunk_hashes(path) == entry["sha256"]
        check(intact, f"{path} is not intact, from which {url}/{name} would be repaired; {BUILD}")
        _put(folder, url, lambda _size: None, name)
