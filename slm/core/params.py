"""What did the user ask for? params.yaml, read whole, checked, and changed in one place.

params.yaml holds every value that changes a result. `dataset:` names the entry of `datasets:`
that is built; setting it changes that one line and no other byte of the file. What an entry may
hold is in slm.core.entries.
"""

import re
from functools import partial
from pathlib import Path

import yaml

from slm.core.entries import NAME, check_entry
from slm.core.errors import UserError
from slm.core.files import write_file

RESERVED = {"prebuilt"}


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, but for a key that stands twice, which DVC refuses too."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            line = node.start_mark.line + 1
            raise yaml.YAMLError(
                f"{twice!r} stands twice in the mapping that begins in line {line}"
            )
        return super().construct_mapping(node, deep)


def read_params(path: Path) -> dict:
    """The whole of params.yaml, with a text `dataset` and a mapping `datasets`, or a UserError."""
    try:
        params = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise UserError(f"{path} not found; run this in the root of the repository") from None
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    found = params if isinstance(params, dict) else {}
    if not isinstance(found.get("dataset"), str) or not isinstance(found.get("datasets"), dict):
        raise UserError(
            f"{path} has dataset {found.get('dataset')!r} and datasets "
            f"{str(found.get('datasets'))[:40]}, expected a name and an entry for each dataset"
        )
    return params


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
    # YAML must not read the name as a number or a truth, when it stands behind `dataset:`
    if not NAME.fullmatch(name) or name in RESERVED or yaml.safe_load(name) != name:
        raise UserError(
            f"dataset name {name!r}: expected a-z first, then a-z, 0-9, - and _, and neither "
            "'prebuilt' nor a word that means a value in YAML"
        )
    return name


def dataset_of(params: dict, name: str) -> dict:
    """The entry of `datasets:` called `name`; raises UserError where it cannot be built."""
    chosen(params, [name])
    return check_entry(name, params["datasets"][name])


def set_dataset(path: Path, name: str) -> None:
    """Make `name` the dataset that is built: one line of params.yaml, the rest untouched."""
    text = path.read_bytes().decode("utf-8")
    changed, found = re.subn(r"(?m)^(dataset:[ \t]*)[^\s#]+", rf"\g<1>{name}", text, count=1)
    if not found:
        raise UserError(f"{path} has no line `dataset: name`; write it so, on a line of its own")
    if changed != text:
        write_file(path, changed.encode())


def set_values(path: Path, values: dict[str, object]) -> None:
    """Give keys `section.key` of params.yaml these values: a line each, the rest untouched.

    A value is a word that YAML reads as it is, a whole number or None. Raises UserError where a
    key has no line of its own.
    """
    content = with_values(path.read_bytes().decode("utf-8"), values)
    write_file(path, content.encode())


def with_values(content: str, values: dict[str, object]) -> str:
    """The text of a params.yaml with these values; raises UserError as `set_values` does."""
    for name, value in values.items():
        section, key = name.split(".")
        word = "null" if value is None else str(value)
        below = rf"^{section}:[ \t]*(?:#.*)?\r?\n(?:(?:[ #].*)?\r?\n)*?"
        line = rf"(?m)({below}[ ]+{key}:)([ \t]*)([^\s#]\S*)?(?=[ \t]*(?:#|\r?$))"
        content, found = re.subn(line, partial(_put, word), content, count=1)
        if not found or yaml.safe_load(content)[section][key] != value:
            raise UserError(
                f"params.yaml has no line `{key}: value` below `{section}:`; write it so, on a "
                "line of its own"
            )
    return content


def _put(word: str, line: re.Match) -> str:
    """A key's line with `word` for its value, which may be missing; a comment keeps its gap."""
    key, gap, value = line.groups()
    return f"{key}{gap}{word}" if value else f"{key} {word}{gap}"


def tokenizer(params: dict) -> tuple[str, int | None]:
    """The encoding's name, and for "bpe" the number of its ids; a UserError where they are none."""
    name, size = (_value(params, "tokenizer", key) for key in ("encoding", "vocab_size"))
    if "vocab_size" not in (params.get("tokenizer") or {}):  # DVC asks for it, too
        raise UserError("params.yaml: tokenizer has no vocab_size; write `vocab_size: null` there")
    if not isinstance(name, str):
        raise UserError(f"params.yaml: tokenizer.encoding is {name!r}, expected text")
    if name == "bpe" and (type(size) is not int or size < 1):
        raise UserError(
            f"params.yaml: tokenizer.vocab_size is {size!r}, expected a whole number of ids for bpe"
        )
    if name != "bpe" and size is not None:
        raise UserError(
            f"params.yaml: tokenizer.vocab_size is {size!r}, expected null: encoding {name} has a "
            "size of its own; bpe is trained to one"
        )
    return name, size


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


def _value(params: dict, section: str, key: str) -> object:
    found = params.get(section)
    return found.get(key) if isinstance(found, dict) else None
