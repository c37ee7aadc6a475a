"""Which vocabulary is text encoded with, and is it really that one?

In: the name of an encoding that tiktoken publishes, or the ranks of one that was trained here
(slm.tokens.bpe), in a file beside what names it. Out: the encoding, and what names it for good: split
pattern, size, SHA-256 of its ranks, id of end-of-text. For gpt2 nothing is fetched after set-up;
other published encodings come by tiktoken's own way. A trained one splits text by GPT-2's pattern,
and its ids are the 256 bytes, the merges in order, and end-of-text.
"""

import base64
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import tiktoken

from slm.core.errors import UserError

RANKS = "vocabulary.tiktoken"  # of a trained vocabulary, in vocabulary/ and in bins/
TRAINED = "bpe-"  # how its encoding's name begins; none that tiktoken publishes does
END_OF_TEXT = "<|endoftext|>"
BYTES = tuple(bytes([byte]) for byte in range(256))


def load_encoding(name: str) -> tiktoken.Encoding:
    """tiktoken's encoding `name`; raises UserError where it is unknown or cannot be fetched."""
    check_name(name)
    try:
        with _files_of_set_up(name):
            return tiktoken.get_encoding(name)
    except (OSError, ValueError) as error:  # requests' exceptions are OSErrors
        url = getattr(getattr(error, "request", None), "url", None)
        raise UserError(_cannot_fetch(name, url, error)) from None


@contextmanager
def _files_of_set_up(name: str) -> Iterator[None]:
    """For gpt2 let tiktoken read the files that set-up installed, wherever the user's cache is."""
    folder, before = Path(sys.prefix, "share", "tiktoken"), os.environ.get("TIKTOKEN_CACHE_DIR")
    if name != "gpt2" or before is None or not folder.is_dir():
        yield
        return
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    try:
        yield
    finally:
        os.environ["TIKTOKEN_CACHE_DIR"] = before


def check_name(name: str) -> None:
    """Raise UserError where tiktoken publishes no encoding of this name."""
    if name not in tiktoken.list_encoding_names():
        known = ", ".join(sorted(tiktoken.list_encoding_names()))
        raise UserError(f"tokenizer.encoding is {name!r}, expected bpe or one of {known}")


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


def trained_encoding(tokens: tuple[bytes, ...]) -> tiktoken.Encoding:
    """The encoding of tokens that were trained, in order; named bpe-<ids>-<hash of its ranks>."""
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
    """The encoding whose ranks lie in `folder`; raises UserError where they are not whole."""
    path = folder / RANKS
    try:
        tokens, ranks = zip(*map(_ranked, path.read_bytes().splitlines()), strict=True)
    except FileNotFoundError:
        raise UserError(f"{path} not found; `make data` makes it") from None
    except ValueError:
        tokens, ranks = (), ()
    whole = ranks == tuple(range(len(ranks))) and tokens[:256] == BYTES
    if not whole or len(set(tokens)) < len(tokens):
        raise UserError(f"{path} is damaged; `rm -r {folder}`, then `make data`")
    return trained_encoding(tokens)


def _ranked(line: bytes) -> tuple[bytes, int]:
    token, rank = line.split(b" ")
    return base64.b64decode(token, validate=True), int(rank)


def load_described(vocabulary: dict, folder: Path) -> tiktoken.Encoding:
    """The encoding that `describe` described; of one that was trained the ranks lie in `folder`.

    Raises UserError where its table is another.
    """
    here = vocabulary["encoding"].startswith(TRAINED)
    encoding = load_trained(folder) if here else load_encoding(vocabulary["encoding"])
    cure = "install the pinned tiktoken: `rm -rf .venv && make setup`"
    cure = f"{folder / RANKS} is of another; remove {folder}, then `make data`" if here else cure
    found = describe(encoding)
    for key, expected in vocabulary.items():
        if key not in found:
            raise UserError(f"the vocabulary is damaged: it has {key!r}; remove it, `make data`")
        if found[key] != expected:
            raise UserError(
                f"encoding {encoding.name} has {key} {found[key]!r} here, expected {expected!r}; "
                f"{cure}"
            )
    return encoding
