"""How do files of the user's own become raw/ files?

In: globs relative to the dataset's source/ folder, a column, for .txt a separator.
Out: each file as slm.text.taking has it, each run of .txt files as one of JSON Lines.
Order: pattern after pattern as given, each pattern's names sorted, so the same on every machine.
"""

from itertools import groupby
from pathlib import Path

from slm.core.errors import UserError, check
from slm.text.finding import find_files, refuse_shared
from slm.text.hub.room import check_room_of
from slm.text.raw import SourceFile, raw_name
from slm.text.taking import KINDS, WRITTEN, Named, kind_by_name, kind_of, take

UNPACK = {
    ".gz": "gunzip", ".zst": "zstd -d", ".zip": "unzip", ".bz2": "bunzip2", ".xz": "unxz",
}  # fmt: skip


def take_files(entry: dict, source: Path, raw: Path) -> tuple[dict, dict]:
    """Fill `raw`; return what identifies the source, and its splits as source.json holds them.

    Raises UserError, which names file and row, where a file cannot be read or is not text.
    """
    column = entry.get("column", "text")
    check(column is not None, "column is null; name the one with text: `column:` in params.yaml")
    actual = {split: find_files(source, globs) for split, globs in entry["files"].items()}
    refuse_shared(source, actual)
    names = [name for of_split in actual.values() for name in of_split]
    _refuse_unknown(names, entry)
    check_room_of(source, names, source.parent)
    splits = {}
    for split, of_split in actual.items():
        runs = _runs([(name, source / name) for name in of_split])
        files: list[SourceFile] = []
        raws = []
        for number, (kind, run) in enumerate(runs):
            ending = ".jsonl" if kind in WRITTEN else kind
            target = raw / raw_name(split, number, len(runs), ending)
            raws.append(target.name)
            files += take(kind, run, target, column, entry)
        splits[split] = {"raw": raws, "files": files}
    cut = {key: entry[key] for key in ("separator", "strip", "encoding", "as") if entry.get(key)}
    return {"column": column, **cut}, splits


def _refuse_unknown(names: list[str], entry: dict) -> None:
    """Raises UserError at files of no known kind, and at an encoding for those of a known one."""
    unknown = [name for name in names if kind_by_name(name) is None]
    packed = next((name for name in unknown if name.endswith((*UNPACK,))), "")
    cure = UNPACK.get(packed[packed.rfind(".") :])
    check(
        not packed, f"files: {packed} is packed, of a kind that is not read so; `{cure} {packed}`"
    )
    if unknown and entry.get("as") != "text":
        more = f" and {len(unknown) - 1:,} more are" if len(unknown) > 1 else " is"
        raise UserError(
            f"files: {unknown[0]}{more} of no kind that is read here ({KINDS}); if it is text, "
            "`as: text` in params.yaml takes it so, else convert it to one of these"
        )
    encoded = [name for name in names if kind_by_name(name) not in (None, ".txt", ".csv")]
    check(
        not encoded or entry.get("encoding") is None,
        f"`encoding:` is of .txt and .csv, and {encoded[:1]} is of another kind; take two datasets",
    )


def _runs(files: list[Named]) -> list[tuple[str, list[Named]]]:
    """One raw file for each file, but for each run of text files."""
    runs: list[tuple[str, list[Named]]] = []
    for kind, group in groupby(files, lambda file: kind_of(file[1], file[0], ".txt")):
        run = [*group]
        runs += [(kind, run)] if kind == ".txt" else [(kind, [file]) for file in run]
    return runs
