"""Which files are a dataset's source? Globs to names, in an order that is the same everywhere.

In: globs relative to the dataset's source/ folder. Out: names below it. A folder that
`Dataset.save_to_disk` wrote stands for its files, in the order that its state.json gives.
"""

import glob
import json
import os
from pathlib import Path, PurePosixPath

from slm.core.errors import UserError, check

STATE = "state.json"


def find_files(source: Path, globs: str | list[str]) -> list[str]:
    """Names below `source` that match, pattern after pattern, each pattern's in sorted order."""
    names: dict[str, None] = {}
    for pattern in globs if isinstance(globs, list) else [globs]:
        if PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts:
            raise UserError(f"files: {pattern!r} leaves {source}; put or link the files into it")
        # Path.glob does not follow links to folders below `**`, and glob.glob does.
        matched = glob.glob(pattern, root_dir=source, recursive=True)  # noqa: PTH207
        matched = [pattern] if (source / pattern).exists() else matched  # "part [1].jsonl"
        matched = sorted({str(PurePosixPath(m)) for m in matched})  # ./a and a are one
        for name in matched:
            _check_link(source, name)
        matched = [file for name in matched for file in _files(source, name)]
        if not matched:
            raise UserError(
                f"files: {pattern!r} matches nothing in {source}; put or link the files there, or "
                f"correct the pattern (`ls {source}/`)"
            )
        names.update(dict.fromkeys(matched))
    return list(names)


def check_source(source: Path) -> None:
    """Raise UserError at a link to nothing and at what is no file: DVC would fail, or wait."""
    for folder, _, names in os.walk(source):
        for name in names:
            if not (path := Path(folder, name)).is_file() and not path.is_dir():
                what = "no file" if path.exists() else "a link to nothing"
                raise UserError(f"{path} is {what}; correct or remove it")


def _files(source: Path, name: str) -> list[str]:
    """The file of this name, or the files, in order, of a folder that `datasets` saved."""
    folder = source / name
    several = (folder / "dataset_dict.json").is_file()
    check(not several, f"files: {name} holds several splits; name one, such as {name}/train")
    if not (folder / STATE).is_file():
        return [name] if folder.is_file() else []
    try:
        state = json.loads((folder / STATE).read_bytes())
        names = [str(PurePosixPath(name, file["filename"])) for file in state["_data_files"]]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{name}/{STATE} does not name its files; save that folder anew") from None
    wrong = [n for n in names if str(PurePosixPath(n).parent) != name or not (source / n).is_file()]
    check(not wrong, f"{name}/{STATE} names {wrong}, not in that folder; save it anew")
    check(not state.get("_indices_data_files"), f"{name} is saved with indices; save it anew")
    return names


def _check_link(source: Path, name: str) -> None:
    if not (source / name).exists():
        raise UserError(f"files: {name} is a link to nothing; correct or remove it")
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise UserError(f"files: the name {name!r} is not UTF-8; rename the file")


def refuse_shared(source: Path, actual: dict[str, list[str]]) -> None:
    """Raise UserError at a file that is there twice, also by a link: documents would repeat."""
    taken: dict[Path, tuple[str, str]] = {}
    for split, names in actual.items():
        for name in names:
            other, its_split = taken.setdefault((source / name).resolve(), (name, split))
            if (other, its_split) != (name, split):
                raise UserError(
                    f"files: {other} of {its_split} and {name} of {split} are one file; choose one"
                )
