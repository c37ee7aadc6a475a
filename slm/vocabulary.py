"""Which vocabulary is text encoded with, and is it really that one?

In: the name of an encoding that tiktoken publishes. Out: the encoding, and what names it for
good: split pattern, size, SHA-256 of its ranks, id of end-of-text. For gpt2 nothing is fetched
after set-up; other encodings come by tiktoken's own way.
"""

import base64
import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path

import tiktoken

from slm.errors import UserError


def load_encoding(name: str) -> tiktoken.Encoding:
    """tiktoken's encoding `name`; raises UserError where it is unknown or cannot be fetched."""
    if name not in tiktoken.list_encoding_names():
        known = ", ".join(sorted(tiktoken.list_encoding_names()))
        raise UserError(f"tokenizer.encoding is {name!r}, expected one of {known}")
    try:
        return tiktoken.get_encoding(name)
    except (OSError, ValueError) as error:  # requests' exceptions are OSErrors
        url = getattr(getattr(error, "request", None), "url", None)
        raise UserError(_cannot_fetch(name, url, error)) from None


def _cannot_fetch(name: str, url: str | None, error: Exception) -> str:
    if url is None:
        return f"tokenizer.encoding {name} cannot be loaded: {error}"
    folder = os.environ.get("TIKTOKEN_CACHE_DIR") or Path(tempfile.gettempdir(), "data-gym-cache")
    place = Path(folder, hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest())
    file = url.rsplit("/", 1)[-1]
    return (
        f"tokenizer.encoding {name} needs {file}, which could not be fetched from {url} "
        f"({type(error).__name__}); fetch it elsewhere and put it at {place}"
    )


def describe(encoding: tiktoken.Encoding) -> dict:
    """What names a vocabulary: encoding, split pattern, size, hash of its ranks, end-of-text."""
    return {
        "encoding": encoding.name,
        "pattern": encoding._pat_str,
        "vocab_size": encoding.n_vocab,
        "ranks_sha256": hashlib.sha256(rank_file(encoding)).hexdigest(),
        "end_of_text": encoding.eot_token,
    }


@cache  # 20 ms, and asked for by each thread and each look at the vocabulary
def rank_file(encoding: tiktoken.Encoding) -> bytes:
    """The ranks as a .tiktoken file: a line each of base64 and rank, in order of rank."""
    ranks = sorted(encoding._mergeable_ranks.items(), key=lambda item: item[1])
    return b"".join(b"%s %d\n" % (base64.b64encode(token), rank) for token, rank in ranks)


def load_described(vocabulary: dict) -> tiktoken.Encoding:
    """The encoding that `describe` described; raises UserError where its table is another."""
    encoding = load_encoding(vocabulary["encoding"])
    found = describe(encoding)
    for key, expected in vocabulary.items():
        if key not in found:
            raise UserError(f"the vocabulary is damaged: it has {key!r}; remove it, `make data`")
        if found[key] != expected:
            raise UserError(
                f"encoding {encoding.name} has {key} {found[key]!r} here, expected {expected!r}; "
                "install the pinned tiktoken: `rm -rf .venv && make setup`"
            )
    return encoding
