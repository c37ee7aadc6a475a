"""What must the files of a hub dataset be? source/pins.json, committed beside params.yaml.

{"path": "owner/name", "revision": "<the full commit>",
 "files": {"<split>": [{"name": "data/….parquet", "bytes": n, "sha256": "…", "rows": n}]},
 "rows": {"<split>": n},                   # in all; here, by file, or not at all
 "tokens": {"<encoding>": {"<split>": n}}} # before end-of-text; the bins stage checks them

"""

import json
import re
from pathlib import Path
from typing import NamedTuple

from slm.core.errors import UserError
from slm.text.hub.cache import kind_of


class Pins(NamedTuple):
    """A pins.json that agrees with params.yaml and has all of its splits."""

    place: Path
    revision: str
    files: dict[str, list[dict]]
    rows: dict[str, int]
    tokens: dict[str, dict[str, int]]

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
                f"correct `revision` in params.yaml and {self.place}"
            )
        for file in published:
            if file.name not in pinned:
                raise UserError(
                    f"{file.name} of {split} is published, and {self.place} does not have it; pin "
                    "all files of the split"
                )
            expected = pinned[file.name]["sha256"]
            if file.sha256 not in (None, expected):
                raise UserError(
                    f"{file.name} is published with SHA-256 {file.sha256}, {self.place} expects "
                    f"{expected}; nothing was downloaded: this is not the pinned dataset"
                )
        kind = type(published[0])
        return [kind(**file) for file in pinned.values()]

    def check_rows(self, found: dict[str, list[int]]) -> None:
        """Raise UserError where a split's rows are not as many as are pinned."""
        for split, rows in found.items():
            expected = self.rows.get(split)
            if expected not in (None, sum(rows)):
                raise UserError(
                    f"{split} has {sum(rows):,} rows in {len(rows)} files, {self.place} expects "
                    f"{expected:,}: a file is missing or short there; pin all of them"
                )

    def tokens_of(self, splits: dict) -> dict[str, int]:
        """How many tokens each split has under the largest of the pinned encodings."""
        counts = self.tokens.values()
        return {
            s: max(c[s] for c in counts if s in c) for s in splits if any(s in c for c in counts)
        }


def read_pins(entry: dict, place: Path) -> Pins | None:
    """source/pins.json, or None; raises UserError where it is not of what params.yaml names."""
    try:
        found = json.loads(place.read_bytes())
        for key in ("path", "revision", "config"):
            if found.get(key) != entry.get(key):
                raise UserError(
                    f"{place} is of {key} {found.get(key)}, params.yaml says {entry.get(key)}; "
                    "correct one of them, or remove the pins"
                )
        missing = [split for split in entry["splits"] if not found["files"].get(split)]
        if missing:
            raise UserError(f"{place} has no files of split {missing[0]}; pin them too")
        files = {split: [_pin(f) for f in found["files"][split]] for split in entry["splits"]}
        names = [file["name"] for of_split in files.values() for file in of_split]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"{twice[0]} is pinned twice")
        rows = _counts(found.get("rows", {}), found["files"])
        tokens = found.get("tokens", {})
        tokens = {name: _counts(of, found["files"]) for name, of in tokens.items()}
    except FileNotFoundError:
        return None
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{place} cannot be read: {error!r}; see `git diff {place}`") from None
    if not re.fullmatch(r"[0-9a-f]{40}", found["revision"]):
        raise UserError(f"{place}: revision {found['revision']} is no full commit; pins need one")
    return Pins(place, found["revision"], files, rows, tokens)


def _pin(file: dict) -> dict:
    """The four keys of a pinned file; raises where one of the first three is missing or wrong."""
    pin = {"name": file["name"], "bytes": file["bytes"], "sha256": file["sha256"].lower()}
    pin["rows"] = file.get("rows")
    numbers = [pin["bytes"], 0 if pin["rows"] is None else pin["rows"]]
    if not (
        kind_of(pin["name"])
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
