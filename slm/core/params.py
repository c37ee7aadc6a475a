"""What did the user ask for? params.yaml, read, checked, and changed in one place.

params.yaml holds every value that changes a result. `dataset:` names the entry of `datasets:`
that is built; setting it changes that value and no other byte of the file. What an entry may hold
is in slm.core.entries.
"""

import json
import re
from functools import reduce
from pathlib import Path

import yaml

from slm.core.entries import NAME, check_entry
from slm.core.errors import UserError, check, delaying_interrupts
from slm.core.files import write_file

RESERVED = {"prebuilt"}


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, but for a key that is there twice, which DVC refuses too."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"{twice!r} is twice in the mapping that begins in line {line}")
        return super().construct_mapping(node, deep)


def read_params(path: Path) -> dict:
    """The whole of params.yaml, with a text `dataset` and a mapping `datasets`, or a UserError."""
    try:
        params = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise UserError(f"{path} not found; run this in the root of the repository") from None
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    top = params if isinstance(params, dict) else {}
    if not isinstance(top.get("dataset"), str) or not isinstance(top.get("datasets"), dict):
        raise UserError(
            f"{path} has dataset {top.get('dataset')!r} and datasets "
            f"{str(top.get('datasets'))[:40]}, expected a name and an entry for each dataset"
        )
    return top


def chosen(params: dict, words: list[str]) -> str:
    """The dataset that a command line names, or else params.yaml; a UserError where it is none."""
    if len(words) > 1:
        raise UserError(f"expected one dataset at most, found {' '.join(words)!r}")
    name = words[0] if words else params["dataset"]
    known = params["datasets"]
    if name not in known:
        raise UserError(
            f"params.yaml has no dataset {name!r}, only {', '.join(map(str, known))}; add it to "
            f"`datasets:`, or choose another: `make data DATASET={next(iter(known), 'name')}`"
        )
    # YAML must not read the name as a number or a truth, after `dataset:`
    fits = isinstance(name, str) and NAME.fullmatch(name) and name not in RESERVED
    if not fits or yaml.safe_load(name) != name:
        raise UserError(
            f"dataset name {name!r}: expected a-z first, then a-z, 0-9, - and _, 60 at most, and "
            "neither 'prebuilt' nor a word that means a value in YAML"
        )
    return name


def dataset_of(params: dict, name: str) -> dict:
    """The entry of `datasets:` called `name`; raises UserError where it cannot be built."""
    chosen(params, [name])
    return check_entry(name, params["datasets"][name])


def set_dataset(path: Path, name: str) -> None:
    """Make `name` the dataset that is built; raises UserError where params.yaml names none."""
    with delaying_interrupts():
        text = path.read_bytes().decode("utf-8")
        if (changed := with_values(text, {"dataset": name})) != text:
            write_file(path, changed.encode())


def set_values(path: Path, values: dict[str, object]) -> None:
    """Give keys `section.key` of params.yaml these values and change no other byte of the file.

    A value is a text, an integer, a list of texts or None. Raises UserError where params.yaml has
    no such key, or where YAML would read another value, there or elsewhere.
    """
    content = with_values(path.read_bytes().decode("utf-8"), values)
    write_file(path, content.encode())


def with_values(content: str, values: dict[str, object]) -> str:
    """The text of a params.yaml with these values; raises UserError as `set_values` does."""
    try:
        expected = yaml.safe_load(content)
        for name, value in values.items():
            *sections, key = name.split(".")
            content = _with_value(content, [*sections, key], value)
            reduce(dict.__getitem__, sections, expected)[key] = value
        same = yaml.safe_load(content) == expected
    except yaml.YAMLError as error:
        raise UserError(f"params.yaml cannot be read: {error}") from None
    check(same, f"params.yaml cannot take {values} as they are; write them there by hand")
    return content


def _with_value(content: str, keys: list[str], value: object) -> str:
    """The text with another value at a path of keys: between the marks that YAML sets there."""
    node = yaml.compose(content, yaml.SafeLoader)
    for key in keys:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((inner for name, inner in pairs if name.value == key), None)
    fits = yaml.SequenceNode if isinstance(value, list) else yaml.ScalarNode
    if node is None or not isinstance(node, fits):
        raise UserError(f"params.yaml has no value `{'.'.join(keys)}`; write it there")
    start, end = node.start_mark.index, node.end_mark.index
    word = str(value)
    if not re.fullmatch(r"[\w./-]+", word) or value is None:
        word = json.dumps(value)
    gap = " " if start == end else ""  # a key without a value: the mark stands at its colon
    return f"{content[:start]}{gap}{word}{content[end:]}"


def choice(params: dict, section: str, key: str, allowed: tuple[str, ...]) -> str:
    """`params[section][key]`, which is one of `allowed`, or a UserError that names both."""
    value = _value(params, section, key)
    if value not in allowed:
        raise UserError(
            f"params.yaml: {section}.{key} is {value!r}, expected one of {', '.join(allowed)}"
        )
    return value


def whole(params: dict, section: str, key: str) -> int:
    """`params[section][key]`, which is a whole number above 0, or a UserError that names both."""
    value = _value(params, section, key)
    if type(value) is not int or value < 1:  # and not True
        raise UserError(f"params.yaml: {section}.{key} is {value!r}, expected a whole number, 1 up")
    return value


def whole_or_none(params: dict, section: str, key: str) -> int | None:
    """The same, or None where it is null or missing."""
    value = _value(params, section, key)
    if value is not None and (type(value) is not int or not 1 <= value <= 10**15):
        wanted = "a whole number from 1 to 10^15, or null"
        raise UserError(f"params.yaml: {section}.{key} is {value!r}, expected {wanted}")
    return value


def _value(params: dict, section: str, key: str) -> object:
    values = params.get(section)
    return values.get(key) if isinstance(values, dict) else None
