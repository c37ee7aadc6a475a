"""What may an entry of `datasets:` hold? Each kind's keys, and what each must be.

A key that is unknown, missing or of another type is refused before anything is built, since DVC
removes what a stage made before it runs the stage again.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from slm.core.errors import UserError

NAME = re.compile(r"[a-z][a-z0-9_-]*")  # of a dataset or a split: it names folders and files


class Key(NamedTuple):
    """What the value of a key must be."""

    fits: Callable[[object], bool]
    expected: str  # in words
    required: bool = True


def check_entry(name: str, entry: object) -> dict:
    """The entry, or a UserError that says which key of dataset `name` is not as it must be."""
    kind = entry.get("kind") if isinstance(entry, dict) else entry
    if not isinstance(entry, dict) or kind not in list(KINDS):
        raise UserError(
            f"params.yaml: datasets.{name}.kind is {kind!r}, expected one of {', '.join(KINDS)}"
        )
    keys = KINDS[kind]
    missing = [key for key in keys if keys[key].required and key not in entry]
    if missing:
        raise UserError(f"params.yaml: datasets.{name} has no {', '.join(missing)}")
    for key in entry:
        if key not in {"kind", *keys}:
            raise UserError(
                f"params.yaml: datasets.{name} has {key!r}, expected {', '.join(keys)} for {kind}"
            )
    for key, must in keys.items():
        value = entry.get(key)
        if not (must.fits(value) or (value is None and not must.required)):
            raise UserError(
                f"params.yaml: datasets.{name}.{key} is {value!r}, expected {must.expected}"
            )
    return entry


def _is_text(value: object) -> bool:
    # A lone surrogate is a string that no file can hold.
    return isinstance(value, str) and value != "" and not re.search("[\ud800-\udfff]", value)


def _is_whole(value: object) -> bool:
    return type(value) is int  # and not True


def _is_globs(value: object) -> bool:
    return _is_text(value) or (
        isinstance(value, list) and bool(value) and all(map(_is_text, value))
    )


def _is_names(value: object) -> bool:
    return isinstance(value, list | dict) and bool(value) and all(map(_is_name, value))


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(NAME.fullmatch(value))


def _by_split(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, dict) and _is_names(value) and all(map(fits, value.values()))
    )


_SPLITS = "(a split's name has a-z first, then a-z, 0-9, - and _)"
_TEXT = "text; put it in quotes"
KINDS: dict[str, dict[str, Key]] = {
    "generated": {
        "seed": Key(_is_whole, "a whole number"),
        "documents": Key(
            _by_split(lambda value: _is_whole(value) and value > 0),
            f"a whole number above 0 for each split, such as {{train: 5000}} {_SPLITS}",
        ),
    },
    "files": {
        "column": Key(_is_text, _TEXT, required=False),
        "separator": Key(_is_text, _TEXT, required=False),
        "files": Key(
            _by_split(_is_globs),
            f'patterns for each split, such as {{train: ["*.jsonl"]}} {_SPLITS}',
        ),
    },
    "hub": {
        "path": Key(_is_text, _TEXT),
        "revision": Key(_is_text, _TEXT),
        "column": Key(_is_text, _TEXT),
        "splits": Key(
            lambda value: (
                isinstance(value, list) and _is_names(value) and len({*value}) == len(value)
            ),
            f"a list of different names, such as [train] {_SPLITS}",
        ),
        "config": Key(_is_text, _TEXT, required=False),
    },
}
