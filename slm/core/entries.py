"""What may an entry of `datasets:` hold? The keys of each kind, and a rule for each key.

An unknown or missing key, or a value of the wrong type, is refused before anything is built: DVC
removes the outputs of a stage before it runs the stage again.
"""

import codecs
import re
from collections.abc import Callable
from typing import NamedTuple

from slm.core.errors import UserError, check

NAME = re.compile(r"[a-z][a-z0-9_-]{0,59}")  # of a dataset or a split: it names folders and files


class Key(NamedTuple):
    """The rule for the value of a key."""

    fits: Callable[[object], bool]
    expected: str  # in words
    required: bool = True


def check_entry(name: str, entry: object) -> dict:
    """Returns the entry of dataset `name`; raises UserError, naming the key, if it is wrong."""
    where, kinds = f"params.yaml: datasets.{name}", ", ".join(KINDS)
    kind = entry.get("kind") if isinstance(entry, dict) else entry
    if not isinstance(entry, dict) or kind not in [*KINDS]:
        raise UserError(f"{where}.kind is {kind!r}, expected one of {kinds}")
    keys = KINDS[kind] | ABOUT
    missing = [key for key in keys if keys[key].required and key not in entry]
    check(not missing, f"{where} has no {', '.join(missing)}")
    for key in entry:
        known = key in {"kind", *keys}
        check(known, f"{where} has {key!r}, expected {', '.join(keys)} for {kind}")
    for key, rule in keys.items():
        value = entry.get(key)
        fits = rule.fits(value) or (value is None and not rule.required)
        check(fits, f"{where}.{key} is {value!r}, expected {rule.expected}")
    for key in ("files", "rows") if kind == "hub" else ():
        named = entry[key] if isinstance(entry.get(key), dict) else {}
        others = [split for split in named if split not in entry["splits"]]
        check(not others, f"{where}.{key} is of {', '.join(others)}, which `splits` does not name")
    for split in splits_of(entry):
        check_split(split)
    return entry


def check_split(name: str) -> None:
    """Raises UserError if a split has a name that stands for something else among its figures."""
    taken = ("selection", "vocab_size")
    check(name not in taken, f"a split is named {name}, as a key of metrics/; name it otherwise")
    check(
        re.search(r"-\d{5,}-of-\d{5,}$", name) is None,
        f"a split is named {name}, as a shard of another would be; name it otherwise",
    )


def splits_of(entry: dict) -> tuple[str, ...]:
    """Returns the names of the splits that an entry's source has."""
    return tuple(
        entry[{"generated": "documents", "files": "files", "hub": "splits"}[entry["kind"]]]
    )


def _is_text(value: object) -> bool:
    # A lone surrogate is a string that no file can hold.
    return isinstance(value, str) and value != "" and not re.search("[\ud800-\udfff]", value)


def _is_names(value: object) -> bool:
    names = value if isinstance(value, list | dict) else ()
    return bool(names) and all(isinstance(name, str) and NAME.fullmatch(name) for name in names)


def _by_split(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, dict) and _is_names(value) and all(map(fits, value.values()))
    )


_SPLITS = "(a split's name has a-z first, then a-z, 0-9, - and _, 60 at most)"
_TEXT = "text; put it in quotes"
_PATTERNS = f'such as {{train: ["*.jsonl"]}} {_SPLITS}'
_FLAG = "true or false"
_COUNTS = f"a whole number above 0 for each split, such as {{train: 5000}} {_SPLITS}"
_is_counts = _by_split(lambda value: type(value) is int and value > 0)
_is_patterns = _by_split(
    lambda value: value != [] and all(map(_is_text, value if isinstance(value, list) else [value]))
)


def _is_encoding(value: object) -> bool:
    try:
        return isinstance(value, str) and codecs.lookup(value)._is_text_encoding
    except LookupError:
        return False


def _is_flag(value: object) -> bool:
    return type(value) is bool


_ENCODING = Key(_is_encoding, "a text encoding, such as cp1252 or utf-16", required=False)
ABOUT = {  # of every kind
    "license": Key(_is_text, "an SPDX identifier, such as MIT", required=False),
    "cite": Key(_is_text, _TEXT, required=False),
}
KINDS: dict[str, dict[str, Key]] = {
    "generated": {
        "seed": Key(lambda value: type(value) is int, "a whole number"),
        "documents": Key(_is_counts, _COUNTS),
    },
    "files": {
        "column": Key(_is_text, _TEXT, required=False),
        "separator": Key(_is_text, _TEXT, required=False),
        "strip": Key(_is_flag, _FLAG, required=False),
        "files": Key(_is_patterns, f"patterns for each split, {_PATTERNS}"),
        "encoding": _ENCODING,
        "as": Key(
            lambda value: value == "text", "text, for files of no known ending", required=False
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
        "rows": Key(_is_counts, _COUNTS, required=False),
        "files": Key(
            lambda v: (type(v) is int and v > 0) or _is_patterns(v),
            f"how many of each split, or patterns for each one, {_PATTERNS}",
            required=False,
        ),
        "separator": Key(_is_text, _TEXT, required=False),
        "strip": Key(_is_flag, _FLAG, required=False),
        "encoding": _ENCODING,
    },
}
