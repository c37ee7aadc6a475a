"""What must the files of a hub dataset be? source/pins.json, committed beside params.yaml.

{"path": "owner/name", "revision": "<the full commit>",
 "files": {"<split>": [{"name": "data/….parquet", "bytes": n, "sha256": "…", "rows": n}]},
 "rows": {"<split>": n},                   # in all; here, by file, or not at all
 "tokens": {"<encoding>": {"<split>": n}}} # before end-of-text; the bins stage checks them

"""

import json
import re
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypedDict

from slm.core.errors import UserError
from slm.text.hub.listing import matching
from slm.text.taking import kind_by_name


class PinnedFile(TypedDict):
    """A file in pins.json."""

    name: str  # in the repository
    bytes: int  # length
    sha256: str  # hexadecimal
    rows: int | None  # where they are pinned by file


class Pins(NamedTuple):
    """A pins.json that agrees with params.yaml and has all of its splits."""

    path: Path  # of pins.json
    revision: str  # the full commit
    files: dict[str, list[PinnedFile]]  # by split
    rows: dict[str, int]  # by split
    tokens: dict[str, dict[str, int]]  # by encoding and split

    def agree(self, splits: dict[str, list]) -> dict[str, list]:
        """The published files of each split as they are pinned; UserError where they differ."""
        return {split: self._agreed(split, files) for split, files in splits.items()}

    def _agreed(self, split: str, published: list) -> list:
        pinned = {file["name"]: file for file in self.files[split]}
        names = [file.name for file in published]
        missing = [name for name in pinned if name not in names]
        if missing:
            raise UserError(
                f"{missing[0]} of {split} is pinned and is not published at {self.revision}; "
                f"correct `revision` in params.yaml and {self.path}"
            )
        for file in published:
            if file.name not in pinned:
                raise UserError(
                    f"{file.name} of {split} is published, and {self.path} does not have it; pin "
                    "all files of the split"
                )
            expected = pinned[file.name]["sha256"]
            if file.sha256 not in (None, expected):
                raise UserError(
                    f"{file.name} is published with SHA-256 {file.sha256}, {self.path} expects "
                    f"{expected}; nothing was downloaded: this is not the pinned dataset"
                )
        kind = type(published[0])
        return [kind(**file) for file in pinned.values()]

    def check_rows(self, fetched: dict[str, list[int]]) -> None:
        """Raise UserError where a split's rows are not as many as are pinned."""
        for split, rows in fetched.items():
            expected = self.rows.get(split)
            if expected not in (None, sum(rows)):
                raise UserError(
                    f"{split} has {sum(rows):,} rows in {len(rows)} files, {self.path} expects "
                    f"{expected:,}: a file is missing or short there; pin all of them"
                )

    def tokens_of(self, splits: dict) -> dict[str, int]:
        """How many tokens each split has under the largest of the pinned encodings."""
        counts = self.tokens.values()
        return {
            s: max(c[s] for c in counts if s in c) for s in splits if any(s in c for c in counts)
        }


def read_pins(entry: dict, path: Path) -> Pins | None:
    """source/pins.json, or None; raises UserError where it is not of what params.yaml names."""
    try:
        content = json.loads(path.read_bytes())
        for key in ("path", "revision", "config"):
            if content.get(key) != entry.get(key):
                raise UserError(
                    f"{path} is of {key} {content.get(key)}, params.yaml says {entry.get(key)}; "
                    "correct one of them, or remove the pins"
                )
        missing = [split for split in entry["splits"] if not content["files"].get(split)]
        if missing:
            raise UserError(f"{path} has no files of split {missing[0]}; pin them too")
        files = {split: [_pin(f) for f in content["files"][split]] for split in entry["splits"]}
        _check_chosen(path, entry, files)
        names = [file["name"] for of_split in files.values() for file in of_split]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"{twice[0]} is pinned twice")
        rows = _counts(content.get("rows", {}), content["files"])
        tokens = content.get("tokens", {})
        tokens = {name: _counts(counts, content["files"]) for name, counts in tokens.items()}
    except FileNotFoundError:
        return None
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error!r}; see `git diff {path}`") from None
    if not re.fullmatch(r"[0-9a-f]{40}", content["revision"]):
        raise UserError(f"{path}: revision {content['revision']} is no full commit; pins need one")
    return Pins(path, content["revision"], files, rows, tokens)


def _check_chosen(path: Path, entry: dict, files: dict[str, list[PinnedFile]]) -> None:
    """Raise UserError where `files` in params.yaml chooses others than are pinned."""
    chosen = entry.get("files")
    for split, pinned in files.items():
        names = [file["name"] for file in pinned]
        if isinstance(chosen, dict):
            matched = matching(names, chosen.get(split, []))
            names = [name for name in names if name not in {*chain(*matched.values())}]
        if isinstance(chosen, dict) and names:
            what = f"has {names[0]} of {split}, which `files` in params.yaml does not name"
        elif isinstance(chosen, int) and len(names) != chosen:
            what = f"has {len(names)} files of {split}, `files` in params.yaml says {chosen}"
        else:
            continue
        raise UserError(f"{path} {what}; correct one of them, or remove the pins")


def _pin(file: dict) -> PinnedFile:
    """A pinned file; raises where a key but `rows` is missing or wrong."""
    pin = PinnedFile(
        name=file["name"], bytes=file["bytes"], sha256=file["sha256"].lower(), rows=file.get("rows")
    )
    numbers = [pin["bytes"], 0 if pin["rows"] is None else pin["rows"]]
    if not (
        kind_by_name(pin["name"])
        and re.fullmatch(r"[0-9a-f]{64}", pin["sha256"])
        and all(type(number) is int and number >= 0 for number in numbers)
    ):
        raise ValueError(f"{file} is no file with bytes and SHA-256 of a kind that is read here")
    return pin


def _counts(counts: dict, splits: dict) -> dict[str, int]:
    """A number for each of some splits; raises where it is anything else."""
    for split, count in counts.items():
        if split not in splits or type(count) is not int or count < 0:
            raise ValueError(f"{split!r}: {count!r} is no number of a split that has files")
    return counts
