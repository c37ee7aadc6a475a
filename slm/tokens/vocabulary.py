"""Which vocabulary encodes the text, and is it really that one?

In: a published name (slm.tokens.published), ranks that were trained here (slm.tokens.bpe), or a
tokenizer.json (slm.tokens.from_file). Out: the encoding, and what identifies it: split pattern,
size, SHA-256 of its ranks or of its file, id of end-of-text. The ids of a trained one are the 256
bytes, the merges in order, its special tokens, and end-of-text.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tiktoken

from slm.core.errors import UserError, check
from slm.core.files import to_json
from slm.core.formats import Vocabulary
from slm.tokens import published
from slm.tokens.from_file import FILE, NAME, Encoding, FileTokenizer
from slm.tokens.patterns import GPT2, PATTERNS, named
from slm.tokens.published import BYTES, END_OF_TEXT, load_encoding

RANKS = "vocabulary.tiktoken"  # of a trained vocabulary: in vocabulary/ and in bins/
TRAINED = "bpe-"  # begins the name of its encoding; no published name begins so


def describe(encoding: Encoding) -> Vocabulary:
    """Returns what identifies a vocabulary."""
    if isinstance(encoding, FileTokenizer):
        of_file: Vocabulary = {
            "encoding": encoding.name,
            "model": encoding.model,
            "vocab_size": encoding.n_vocab,
            "file_sha256": encoding.sha256,
            "end_of_text": encoding.eot_token,
        }
        return of_file | ({"source": encoding.source} if encoding.source else {})
    about: Vocabulary = {
        "encoding": encoding.name,
        "pattern": encoding._pat_str,
        "vocab_size": encoding.n_vocab,
        "ranks_sha256": hashlib.sha256(rank_file(encoding)).hexdigest(),
        "end_of_text": end_of_text(encoding),
    }
    if encoding.name in published.LICENSES:
        about["license"] = published.LICENSES[encoding.name]
    if encoding.name.startswith(TRAINED) and (special := special_tokens(encoding)):
        about["special_tokens"] = special
    return about


def end_of_text(encoding: Encoding) -> int | None:
    """Returns the id that ends a document; None for a tokenizer.json without one."""
    if isinstance(encoding, FileTokenizer):
        return encoding.eot_token
    return published.end_of_text(encoding)


def special_tokens(encoding: tiktoken.Encoding) -> list[str]:
    """Returns the special tokens of a trained encoding, in order, but for end-of-text."""
    ordered = sorted(encoding._special_tokens.items(), key=lambda item: item[1])
    return [token for token, _ in ordered if token != END_OF_TEXT]


@cache  # takes 20 ms, and each thread asks for it
def rank_file(encoding: tiktoken.Encoding) -> bytes:
    """Returns the ranks as a .tiktoken file: a line of base64 and rank each, in order of rank."""
    ranks = sorted(encoding._mergeable_ranks.items(), key=lambda item: item[1])
    return b"".join(b"%s %d\n" % (base64.b64encode(token), rank) for token, rank in ranks)


def token_bytes(encoding: Encoding) -> np.ndarray:
    """Returns (ids,) int64: how many bytes of text each id stands for, 0 for a special token."""
    counts = np.zeros(encoding.n_vocab, np.int64)
    if isinstance(encoding, FileTokenizer):
        counts[:] = [len(token) for token in encoding.token_bytes()]
    else:
        for token, rank in encoding._mergeable_ranks.items():
            counts[rank] = len(token)
    return counts


def encode(encoding: Encoding, text: str) -> np.ndarray:
    """Returns the ids of a text by the reference, (tokens,) uint32.

    Raises ValueError if tiktoken cannot split it: a run of 999,999 or more whitespace characters.
    """
    if isinstance(encoding, FileTokenizer):
        return np.array(encoding.encode_ordinary(text), np.uint32)
    # encode_ordinary's ids, without its list of integers, and without its panic
    options: dict = {"allowed_special": set(), "disallowed_special": ()}
    return encoding.encode_to_numpy(text, **options)


def own_files(encoding: Encoding) -> dict[str, bytes]:
    """Returns the files that go with the bins, by name; none of a published encoding."""
    if isinstance(encoding, FileTokenizer):
        return {FILE: encoding.content}
    return {RANKS: rank_file(encoding)} if encoding.name.startswith(TRAINED) else {}


def trained_encoding(
    tokens: Sequence[bytes], pattern: str = GPT2.name, special: Sequence[str] = ()
) -> tiktoken.Encoding:
    """Returns the encoding of trained tokens, in order, named bpe-<ids>-<hash of what it is>.

    `pattern` is one of slm.tokens.patterns, `special` the special tokens beside end-of-text.
    """
    encoding = tiktoken.Encoding(
        "bpe",
        pat_str=PATTERNS[pattern].regex,
        mergeable_ranks={token: rank for rank, token in enumerate(tokens)},
        special_tokens={token: len(tokens) + i for i, token in enumerate([*special, END_OF_TEXT])},
    )
    plain = pattern == GPT2.name and not special  # the hash of these is that of the ranks alone
    more = b"" if plain else to_json([pattern, list(special)])
    digest = hashlib.sha256(rank_file(encoding) + more).hexdigest()
    encoding.name = f"{TRAINED}{encoding.n_vocab}-{digest[:8]}"
    return encoding


def load_trained(folder: Path, about: Mapping[str, Any] | None = None) -> tiktoken.Encoding:
    """Returns the encoding of the ranks in `folder`; raises UserError if they are corrupt.

    `about` is what `describe` says of it, or None for GPT-2's pattern and no special tokens.
    """
    path = folder / RANKS
    try:
        lines = [line.split(b" ") for line in path.read_bytes().splitlines()]
        tokens = tuple(base64.b64decode(token, validate=True) for token, _ in lines)
        ordered = [int(rank) for _, rank in lines] == [*range(len(lines))]
    except FileNotFoundError:
        raise UserError(f"{path} not found; `make data` makes it") from None
    except ValueError:
        tokens, ordered = (), False
    intact = ordered and tokens[:256] == BYTES and len({*tokens}) == len(tokens)
    check(intact, f"{path} is corrupt; `rm -r {folder}`, then `make data`")
    about = about or {}
    pattern = named(about.get("pattern", GPT2.regex)) or GPT2  # of another, describe differs
    return trained_encoding(tokens, pattern.name, about.get("special_tokens", ()))


def load_file(folder: Path, about: Mapping[str, Any]) -> FileTokenizer:
    """Returns the tokenizer of a tokenizer.json in `folder`; raises UserError if it is corrupt."""
    path, cure = folder / FILE, f"`rm -r {folder}`, then `make data`"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} not found; `make data` makes it") from None
    intact = hashlib.sha256(content).hexdigest() == about.get("file_sha256")
    check(intact, f"{path} is corrupt: its SHA-256 differs; {cure}")
    return FileTokenizer(content, about.get("end_of_text"), about.get("source"))


def load_described(vocabulary: Mapping[str, Any], folder: Path) -> Encoding:
    """Returns the encoding that `describe` described; `folder` holds the file of one that has any.

    Raises UserError if the encoding here is another.
    """
    name, cure = vocabulary["encoding"], "install the pinned packages: `rm -rf .venv && make setup`"
    encoding: Encoding
    if name.startswith(TRAINED):
        encoding = load_trained(folder, vocabulary)
        cure = f"{folder / RANKS} is of another; remove {folder}, then `make data`"
    elif name.startswith(NAME):
        encoding = load_file(folder, vocabulary)
        cure = f"{folder / FILE} is of another; remove {folder}, then `make data`"
    else:
        encoding = load_encoding(name)
    actual = dict(describe(encoding))
    for key, expected in vocabulary.items():
        check(key in actual, f"the vocabulary is corrupt: it has {key!r}; remove it, `make data`")
        value = actual[key]
        check(
            value == expected,
            f"encoding {encoding.name} has {key} {value!r} here, expected {expected!r}; {cure}",
        )
    return encoding
