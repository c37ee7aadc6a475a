"""Which parameters do benchmark and training have? Read without PyYAML, which a GPU may lack.

In: params.yaml. Out: `dataset`, and the sections `batching`, `benchmark` and `training`, checked.
These are flat: lines `  key: value  # comment`, the value JSON or one bare word, so that this
reader and YAML agree (a test compares them). Other values are refused in one line.
"""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slm.batching.sampling import ORDERS
from slm.core.errors import UserError, check

SECTIONS = ("batching", "benchmark", "training")


def read_settings(path: Path) -> dict[str, Any]:
    """Returns `dataset` and SECTIONS of params.yaml; raises UserError if a value is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} not found; run this in the root of the repository") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8; save it as UTF-8") from None
    settings: dict[str, Any] = {"dataset": _values(text, "").get("dataset")}
    settings |= {name: _values(_section(text, name), "  ") for name in SECTIONS}
    for key, fits, expected in RULES:
        section, _, name = key.rpartition(".")
        value = (settings[section] if section else settings).get(name)
        check(fits(value), f"{path}: {key} is {value!r}, expected {expected}")
    return settings


def _section(text: str, name: str) -> str:
    """Returns the lines below a top-level key, up to the next one."""
    match = re.search(rf"(?m)^{name}:[ \t]*(?:#.*)?\n((?:(?:[ #].*)?\n)*)", f"{text}\n")
    return match[1] if match else ""


def _values(text: str, indent: str) -> dict[str, object]:
    lines = re.findall(rf"(?m)^{indent}(\w+):[ \t]+(\S.*?)[ \t]*(?:[ \t]#.*)?$", text)
    return {key: _value(word) for key, word in lines}


def _value(word: str) -> object:
    try:
        return json.loads(word)
    except ValueError:
        return word


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1  # and not True


def _is_seed(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**64


def _is_list(value: Any, fits: Callable[[Any], bool], length: int | None = None) -> bool:
    if not isinstance(value, list) or not value or len(value) != (length or len(value)):
        return False
    return all(map(fits, value))


RULES = (
    ("dataset", lambda value: isinstance(value, str), "the name of a dataset"),
    ("batching.batch_size", _is_count, "a whole number of rows, at least 1"),
    ("batching.block_size", _is_count, "a whole number of tokens, at least 1"),
    ("batching.order", lambda value: value in ORDERS, f"one of {', '.join(ORDERS)}"),
    ("batching.seed", _is_seed, "a whole number in 0 … 2^64 - 1"),
    (
        "benchmark.shapes",
        lambda value: _is_list(value, lambda pair: _is_list(pair, _is_count, 2)),
        "a list of [rows, tokens per row], each at least 1",
    ),
    ("training.bytes", _is_count, "a whole number of bytes, at least 1"),
    (
        "training.seeds",
        lambda value: _is_list(value, _is_seed) and len({*value}) == len(value),
        "a list of different whole numbers in 0 … 2^64 - 1",
    ),
    (
        "training.model",
        lambda v: _is_list(v, _is_count, 3) and v[2] % v[1] == 0,
        "[layers, heads, width], the width a multiple of the heads",
    ),
    ("training.batch_size", _is_count, "a whole number of rows, at least 1"),
    ("training.block_size", _is_count, "a whole number of tokens, at least 1"),
    (
        "training.learning_rate",
        lambda v: type(v) in (int, float) and 0 < v < math.inf,
        "a number above 0",
    ),
)
