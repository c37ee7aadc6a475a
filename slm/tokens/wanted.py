"""Which tokenizer does params.yaml ask for? The section `tokenizer:`, read and checked.

encoding        a published one, bytes, bpe (trained on the train split) or file
vocab_size      of bpe: how many ids; pattern: how it splits text; special_tokens: its own
file            of file: a tokenizer.json; or
path, revision  the repository on the hub that has one, and its commit
sha256          of that file: required with file; with path, null takes what the commit has
end_of_text     of file: the special token that ends a document
"""

import re
from typing import Any, NamedTuple

from slm.core.errors import UserError, check
from slm.tokens.patterns import GPT2, TRAINABLE
from slm.tokens.published import END_OF_TEXT, check_name

WHERE = "params.yaml: tokenizer"
SMALLEST = 257  # ids of bpe: the 256 bytes and end-of-text


class Wanted(NamedTuple):
    """The section; None, GPT-2's pattern and () where a key does not matter."""

    encoding: str
    vocab_size: int | None = None
    pattern: str = GPT2.name
    special_tokens: tuple[str, ...] = ()
    file: str | None = None
    path: str | None = None
    revision: str | None = None
    sha256: str | None = None
    end_of_text: str | None = None


KEYS = Wanted._fields
DEFAULTS: dict[str, Any] = {**Wanted("")._asdict(), "special_tokens": []}
OF = {
    "bpe": ("vocab_size", "pattern", "special_tokens"),
    "file": ("file", "path", "revision", "sha256", "end_of_text"),
}


def wanted(params: dict) -> Wanted:
    """Returns what `tokenizer:` asks for; raises UserError, naming the key, if it is wrong."""
    section = params.get("tokenizer")
    values = dict(section) if isinstance(section, dict) else {}
    name = values.get("encoding")
    if not isinstance(name, str):
        raise UserError(f"{WHERE}.encoding is {name!r}, expected text")
    for key in KEYS:  # DVC asks for them, too
        check(key in values, f"{WHERE} has no {key}; write `{key}: {_shown(key)}` there")
    if values["special_tokens"] is None:
        values["special_tokens"] = []
    if name not in OF:
        check_name(name)
    for kind in OF.keys() - {name}:
        _check_others(values, name, kind)
    if name == "bpe":
        _check_trained(values)
    if name == "file":
        _check_file(values)
    listed = tuple(values["special_tokens"])
    return Wanted(**{**{key: values[key] for key in KEYS}, "special_tokens": listed})


def _shown(key: str) -> str:
    """What params.yaml ships for a key."""
    return "null" if DEFAULTS[key] is None else str(DEFAULTS[key])


def _check_others(values: dict, name: str, kind: str) -> None:
    """Raises UserError if a key is set that another kind of encoding has."""
    for key in OF[kind]:
        check(
            values[key] == DEFAULTS[key],
            f"{WHERE}.{key} is {values[key]!r}, expected {_shown(key)}: it is a key of encoding "
            f"{kind}, and {name} has none",
        )


def _check_trained(values: dict) -> None:
    size, pattern = values["vocab_size"], values["pattern"]
    if type(size) is not int or size < 1:  # and not True
        raise UserError(f"{WHERE}.vocab_size is {size!r}, expected a whole number of ids for bpe")
    allowed = ", ".join(TRAINABLE)
    check(pattern in TRAINABLE, f"{WHERE}.pattern is {pattern!r}, expected one of {allowed}")
    special = values["special_tokens"]
    fits = isinstance(special, list) and all(map(_is_text, special))
    check(
        fits and len({*special, END_OF_TEXT}) == len(special) + 1,
        f"{WHERE}.special_tokens is {special!r}, expected a list of different texts, "
        f"{END_OF_TEXT} none of them",
    )
    least = SMALLEST + len(special)
    more = f", {len(special)} special tokens" if special else ""
    check(
        size >= least,
        f"{WHERE}.vocab_size is {size}, expected {least} or more: the 256 bytes{more} and "
        "end-of-text",
    )


def _is_text(value: object) -> bool:
    # A lone surrogate is a string that no file can hold.
    return isinstance(value, str) and value != "" and not re.search("[\ud800-\udfff]", value)


def _check_file(values: dict) -> None:
    for key in OF["file"]:
        value = values[key]
        fits = value is None or _is_text(value)
        check(fits, f"{WHERE}.{key} is {value!r}, expected text (in quotes) or null")
    file, path, revision, sha256, _ = (values[key] for key in OF["file"])
    check(
        (file is None) != (path is None),
        f"{WHERE} has file {file!r} and path {path!r}, expected one of them: a tokenizer.json, or "
        "the repository on the hub that has it",
    )
    check(
        path is None or re.fullmatch("[0-9a-f]{40}", revision or "") is not None,
        f"{WHERE}.revision is {revision!r}, expected the full commit of {path}, 40 hex digits; "
        f"`git ls-remote https://huggingface.co/{path}` lists them",
    )
    check(
        file is None or revision is None,
        f"{WHERE}.revision is of path, and file is given; write `revision: null`",
    )
    check(
        sha256 is None or re.fullmatch("[0-9a-f]{64}", sha256) is not None,
        f"{WHERE}.sha256 is {sha256!r}, expected 64 hex digits or null",
    )
