"""Which vocabulary encodes the text, and is it really that one?

In: the name of an encoding that tiktoken publishes, or a file of ranks that was trained here
(slm.tokens.bpe). Out: the encoding, and what identifies it: split pattern, size, SHA-256 of its
ranks, id of end-of-text. For gpt2 nothing is fetched after set-up; tiktoken fetches the other
published encodings. A trained one splits text by GPT-2's pattern, and its ids are the 256 bytes,
the merges in order, and end-of-text.
"""

import base64
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import tiktoken

from slm.core.errors import UserError, check
from slm.core.formats import Vocabulary

RANKS = "vocabulary.tiktoken"  # of a trained vocabulary: in vocabulary/ and in bins/
TRAINED = "bpe-"  # begins the name of its encoding; no published name begins so
END_OF_TEXT = "<|endoftext|>"
BYTES = tuple(bytes([byte]) for byte in range(256))


def load_encoding(name: str) -> tiktoken.Encoding:
    """Returns tiktoken's encoding; raises UserError if it is unknown or cannot be fetched."""
    check_name(name)
    try:
        with _set_up_files(name):
            return tiktoken.get_encoding(name)
    except (OSError, ValueError) as error:  # requests' exceptions are OSErrors
        raise UserError(_cannot_fetch(name, error)) from None


@contextmanager
def _set_up_files(name: str) -> Iterator[None]:
    """For gpt2, lets tiktoken read the files that set-up installed, not the user's cache."""
    folder, before = Path(sys.prefix, "share", "tiktoken"), os.environ.get("TIKTOKEN_CACHE_DIR")
    replaced = {} if before is None else {"TIKTOKEN_CACHE_DIR": before}
    try:
        if replaced and name == "gpt2" and folder.is_dir():
            os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
        yield
    finally:
        os.environ.update(replaced)


def check_name(name: str) -> None:
    """Raises UserError if tiktoken publishes no encoding of this name."""
    names = sorted(tiktoken.list_encoding_names())
    known = ", ".join(names)
    check(name in names, f"tokenizer.encoding is {name!r}, expected bpe or one of {known}")


def _cannot_fetch(name: str, error: Exception) -> str:
    url = getattr(getattr(error, "request", None), "url", None)
    if url is None:
        return f"tokenizer.encoding {name} cannot be loaded: {error}"
    folder = os.environ.get("TIKTOKEN_CACHE_DIR") or Path(tempfile.gettempdir(), "data-gym-cache")
    path = Path(folder, hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest())
    file = url.rsplit("/", 1)[-1]
    return (
        f"tokenizer.encoding {name} needs {file}, which could not be fetched from {url} "
        f"({type(error).__name__}); fetch it elsewhere and put it at {path}"
    )


def describe(encoding: tiktoken.Encoding) -> Vocabulary:
    """Returns what identifies a vocabulary."""
    return {
        "encoding": encoding.name,
        "pattern": encoding._pat_str,
        "vocab_size": encoding.n_vocab,
        "ranks_sha256": hashlib.sha256(rank_file(encoding)).hexdigest(),
        "end_of_text": encoding.eot_token,
    }


@cache  # takes 20 ms, and each thread asks for it
def rank_file(encoding: tiktoken.Encoding) -> bytes:
    """Returns the ranks as a .tiktoken file: a line of base64 and rank each, in order of rank."""
    ranks = sorted(encoding._mergeable_ranks.items(), key=lambda item: item[1])
    return b"".join(b"%s %d\n" % (base64.b64encode(token), rank) for token, rank in ranks)


def trained_encoding(tokens: tuple[bytes, ...]) -> tiktoken.Encoding:
    """Returns the encoding of trained tokens, in order, named bpe-<ids>-<hash of its ranks>."""
    encoding = tiktoken.Encoding(
        "bpe",
        pat_str=load_encoding("gpt2")._pat_str,
        mergeable_ranks={token: rank for rank, token in enumerate(tokens)},
        special_tokens={END_OF_TEXT: len(tokens)},
    )
    digest = hashlib.sha256(rank_file(encoding)).hexdigest()
    encoding.name = f"{TRAINED}{encoding.n_vocab}-{digest[:8]}"
    return encoding


def load_trained(folder: Path) -> tiktoken.Encoding:
    """Returns the encoding of the ranks in `folder`; raises UserError if they are corrupt."""
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
    return trained_encoding(tokens)


def load_described(vocabulary: Mapping[str, Any], folder: Path) -> tiktoken.Encoding:
    """Returns the encoding that `describe` described; `folder` holds the ranks of a trained one.

    Raises UserError if the encoding here is another.
    """
    here = vocabulary["encoding"].startswith(TRAINED)
    encoding = load_trained(folder) if here else load_encoding(vocabulary["encoding"])
    cure = "install the pinned tiktoken: `rm -rf .venv && make setup`"
    if here:
        cure = f"{folder / RANKS} is of another; remove {folder}, then `make data`"
    actual = dict(describe(encoding))
    for key, expected in vocabulary.items():
        check(key in actual, f"the vocabulary is corrupt: it has {key!r}; remove it, `make data`")
        value = actual[key]
        check(
            value == expected,
            f"encoding {encoding.name} has {key} {value!r} here, expected {expected!r}; {cure}",
        )
    return encoding
