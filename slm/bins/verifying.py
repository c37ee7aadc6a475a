"""Are the bytes of a folder of bins as its manifest says? Every byte is read."""

from collections.abc import Iterator
from pathlib import Path

from slm.bins.format import MANIFEST, REPAIR, STRAYS
from slm.bins.manifest import files_of, read_manifest, wrong_size
from slm.core.errors import UserError
from slm.core.files import CHUNK_BYTES, chunk_hashes


def check_bytes(folder: Path, mend: str = REPAIR) -> None:
    """Read every byte of a folder of bins; raises UserError, which names the first damage."""
    read_manifest(folder)
    if found := next(damage(folder), None):
        raise UserError(f"{found}; {mend}")


def damage(folder: Path) -> Iterator[str]:
    """Everything in a folder of bins that is not as its manifest says, a line for each place."""
    try:
        manifest = read_manifest(folder)
    except UserError as error:
        yield str(error)
        return
    for name, expected in files_of(manifest):
        wrong = wrong_size(folder / name, expected["bytes"])
        if wrong:
            yield f"{folder / name} {wrong}"
        if not (folder / name).is_file():
            continue
        for number, found in enumerate(chunk_hashes(folder / name)):
            if found not in expected["sha256"][number : number + 1]:
                start = number * CHUNK_BYTES
                end = min(start + CHUNK_BYTES, (folder / name).stat().st_size) - 1
                yield f"{folder / name} differs in chunk {number}, bytes {start:,} to {end:,}"
    known = {MANIFEST, *(name for name, _ in files_of(manifest))}
    for path in sorted(folder.iterdir()):
        if path.name not in known | STRAYS:
            yield f"{path} is not of these bins; remove it"
