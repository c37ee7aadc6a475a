"""Which tokenizer does params.yaml ask for? The section `tokenizer:`, read and checked.

encoding        a published one, bytes, bpe (trained on the train split) or file
vocab_size      of bpe: how many ids; pattern: how it splits text; special_tokens: its own
file            of file: a tokenizer.json; or
path, revision  the repository on the hub that has one, and its commit
sha256          of that file; null takes what is there
end_of_text     of file: the special token that ends a document
"""

import re
from typing import Any, NamedTuple

from slm.core.errors import UserError, check
from slm.tokens.patterns import GPT2, TRAINED
from slm.tokens.published import END_OF_TEXT, check_name

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
_OF = {
    "bpe": ("vocab_size", "pattern", "special_tokens"),
    "file": ("file", "path", "revision", "sha256", "end_of_text"),
}


def wanted(params: dict) -> Wanted:
    """Returns what `tokenizer:` asks for; raises UserError, naming the key, if it is wrong."""
    section = params.get("tokenizer")
    values = section if isinstance(section, dict) else {}
    name = values.get("encoding")
    if not isinstance(name, str):
        raise UserError(f"params.yaml: tokenizer.encoding is {name!r}, expected text")
    for key in KEYS:  # DVC asks for them, too
        default = "null" if DEFAULTS[key] is None else DEFAULTS[key]
        missing = f"params.yaml: tokenizer has no {key}; write `{key}: {default}` there"
        check(key in values, missing)
    if name not in _OF:
        check_name(name)
    for kind, keys in _OF.items():
        for key in keys:
            value = values[key]
            check(
                kind == name or value == DEFAULTS[key] or (key == "special_tokens" and not value),
                f"params.yaml: tokenizer.{key} is {value!r}, expected "
                f"{'null' if DEFAULTS[key] is None else DEFAULTS[key]}: encoding {name} has one of "
                f"its own; it is a key of {kind}",
            )
    if name == "bpe":
        _check_trained(values)
    if name == "file":
        _check_file(values)
    listed = tuple(values["special_tokens"] or ())
    return Wanted(**{**{key: values[key] for key in KEYS}, "special_tokens": listed})


def _check_trained(values: dict) -> None:
    size, special = values["vocab_size"], values["special_tokens"]
    where = "params.yaml: tokenizer"
    if type(size) is not int or size < 1:  # and not True
        raise UserError(f"{where}.vocab_size is {size!r}, expected a whole number of ids for bpe")
    allowed = ", ".join(TRAINED)
    pattern = values["pattern"]
    check(pattern in TRAINED, f"{where}.pattern is {pattern!r}, expected one of {allowed}")
    fits = isinstance(special, list) and all(isinstance(t, str) and t for t in special)
    check(
        fits and len({*special, END_OF_TEXT}) == len(special) + 1,
        f"{where}.special_tokens is {special!r}, expected a list of different texts, "
        f"{END_OF_TEXT} none of them",
    )
    least = SMALLEST + len(special)
    more = f", {len(special)} special tokens" if special else ""
    check(
        size >= least,
        f"tokenizer.vocab_size is {size}, expected {least} or more: the 256 bytes{more} and "
        "end-of-text",
    )


def _check_file(values: dict) -> None:
    where = "params.yaml: tokenizer"
    for key in ("file", "path", "revision", "sha256", "end_of_text"):
        value = values[key]
        fits = value is None or (isinstance(value, str) and value != "")
        check(fits, f"{where}.{key} is {value!r}, expected text or null")
    file, path, revision, sha256 = (values[k] for k in ("file", "path", "revision", "sha256"))
    check(
        (file is None) != (path is None),
        f"{where} has file {file!r} and path {path!r}, expected one of them: a tokenizer.json, or "
        "the repository on the hub that has it",
    )
    check(
        path is None or re.fullmatch("[0-9a-f]{40}", revision or "") is not None,
        f"{where}.revision is {revision!r}, expected the full commit of {path}, 40 hex digits; "
        f"`git ls-remote https://huggingface.co/{path}` lists them",
    )
    check(file is None or revision is None, f"{where}.revision is of path, and file is given")
    check(
        sha256 is None or re.fullmatch("[0-9a-f]{64}", sha256) is not None,
        f"{where}.sha256 is {sha256!r}, expected 64 hex digits or null",
    )
