"""Are the bytes of a folder of bins as its manifest says? Every byte is read."""

from collections.abc import Iterator
from pathlib import Path

from slm.bins.format import MANIFEST, REPAIR, STORE, STRAYS
from slm.bins.manifest import all_names, files_of, read_manifest, wrong_size
from slm.core.errors import UserError
from slm.core.files import CHUNK_BYTES, chunk_hashes


def check_bytes(folder: Path, cure: str = REPAIR) -> None:
    """Reads every byte of a folder of bins; raises UserError, which names the first damage."""
    read_manifest(folder)
    if line := next(damage(folder), None):
        raise UserError(f"{line}; {cure}")


def damage(folder: Path) -> Iterator[str]:
    """Yields a line for each place where a folder of bins differs from its manifest."""
    try:
        manifest = read_manifest(folder)
    except UserError as error:
        yield str(error)
        return
    far = (folder / STORE).exists()  # then the other files are elsewhere
    files = {} if far else dict(files_of(folder, manifest))
    for name, entry in files.items():
        path = folder / name
        if wrong := wrong_size(path, entry["bytes"]):
            yield f"{path} {wrong}"
        for number, sha256 in enumerate(chunk_hashes(path) if path.is_file() else []):
            if sha256 not in entry["sha256"][number : number + 1]:
                start = number * CHUNK_BYTES
                end = min(start + CHUNK_BYTES, path.stat().st_size) - 1
                yield f"{path} differs in chunk {number}, bytes {start:,} to {end:,}"
    known = {*([MANIFEST, STORE] if far else all_names(manifest)), *STRAYS}
    for path in sorted(folder.iterdir()):
        if path.name not in known:
            yield f"{path} is not of these bins; remove it"
