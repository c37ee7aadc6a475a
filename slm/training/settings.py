"""What does params.yaml ask of benchmark and training? Read without PyYAML, which a GPU may lack.

In: params.yaml. Out: `dataset`, and the sections `batching`, `benchmark` and `training`, checked.
These are flat: a line `  key: value  # comment` each, its value JSON or else one bare word, so that
this reader and YAML agree (a test holds them to it). Anything else there is refused in one line.
"""

import json
import math
import re
from pathlib import Path

from slm.batching.sampling import ORDERS
from slm.core.errors import UserError

SECTIONS = ("batching", "benchmark", "training")


def read_settings(path: Path) -> dict:
    """`dataset` and SECTIONS of params.yaml; raises UserError where one is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} not found; run this in the root of the repository") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8; save it as UTF-8") from None
    found = {"dataset": _values(text, r"").get("dataset")}
    found |= {name: _values(_section(text, name), r"  ") for name in SECTIONS}
    for key, fits, expected in RULES:
        section, _, name = key.rpartition(".")
        value = (found[section] if section else found).get(name)
        if not fits(value):
            raise UserError(f"{path}: {key} is {value!r}, expected {expected}")
    return found


def _section(text: str, name: str) -> str:
    """The lines below a top-level key, up to the next one."""
    found = re.search(rf"(?m)^{name}:[ \t]*(?:#.*)?\n((?:(?:[ #].*)?\n)*)", f"{text}\n")
    return found[1] if found else ""


def _values(text: str, indent: str) -> dict:
    lines = re.findall(rf"(?m)^{indent}(\w+):[ \t]+(\S.*?)[ \t]*(?:[ \t]#.*)?$", text)
    return {key: _value(word) for key, word in lines}


def _value(word: str) -> object:
    try:
        return json.loads(word)
    except ValueError:
        return word


def _whole(value: object, least: int = 1) -> bool:
    return type(value) is int and value >= least  # and not True


def _is_shape(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_whole, value))


def _are_shapes(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_shape, value))


def _is_seed(value: object) -> bool:
    return _whole(value, 0) and value < 2**64


def _are_seeds(value: object) -> bool:
    fits = isinstance(value, list) and bool(value) and all(map(_is_seed, value))
    return fits and len(set(value)) == len(value)


def _is_model(value: object) -> bool:
    fits = isinstance(value, list) and len(value) == 3 and all(map(_whole, value))
    return fits and value[2] % value[1] == 0


def _is_rate(value: object) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf


RULES = (
    ("dataset", lambda value: isinstance(value, str), "the name of a dataset"),
    ("batching.batch_size", _whole, "a whole number of rows, at least 1"),
    ("batching.block_size", _whole, "a whole number of tokens, at least 1"),
    ("batching.order", lambda value: value in ORDERS, f"one of {', '.join(ORDERS)}"),
    ("batching.seed", _is_seed, "a whole number in 0 … 2^64 - 1"),
    ("benchmark.shapes", _are_shapes, "a list of [rows, tokens per row], each at least 1"),
    ("training.bytes", _whole, "a whole number of bytes, at least 1"),
    ("training.seeds", _are_seeds, "a list of different whole numbers in 0 … 2^64 - 1"),
    ("training.model", _is_model, "[layers, heads, width], the width a multiple of the heads"),
    ("training.batch_size", _whole, "a whole number of rows, at least 1"),
    ("training.block_size", _whole, "a whole number of tokens, at least 1"),
    ("training.learning_rate", _is_rate, "a number above 0"),
)
