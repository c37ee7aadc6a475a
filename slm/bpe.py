"""What is a vocabulary that was trained here, and how do other libraries load it?

In: the merges of byte-level BPE, in order. Out: tiktoken's encoding, and two files from which
tiktoken, gigatoken and Hugging Face's tokenizers give the same ids: vocabulary.tiktoken (the
ranks) and tokenizer.json. The same merges give the same bytes. Ids: the 256 bytes, the merges in
order, end-of-text last. Text is split by GPT-2's pattern.
"""

import base64
import hashlib
from pathlib import Path

import tiktoken

from slm.errors import UserError
from slm.files import to_json, write_file
from slm.vocabulary import load_encoding, rank_file

RANKS, TOKENIZER = "vocabulary.tiktoken", "tokenizer.json"
END_OF_TEXT = "<|endoftext|>"
SMALLEST = 257  # ids: the 256 bytes and end-of-text
BYTES = tuple(bytes([byte]) for byte in range(256))
Merge = tuple[bytes, bytes]  # the token on the left and the one on the right


def encoding_of(merges: list[Merge]) -> tiktoken.Encoding:
    """tiktoken's encoding with these merges, named bpe-<ids>-<hash of its ranks>."""
    return _encoding((*BYTES, *(left + right for left, right in merges)))


def _encoding(tokens: tuple[bytes, ...]) -> tiktoken.Encoding:
    encoding = tiktoken.Encoding(
        "bpe",
        pat_str=load_encoding("gpt2")._pat_str,
        mergeable_ranks={token: rank for rank, token in enumerate(tokens)},
        special_tokens={END_OF_TEXT: len(tokens)},
    )
    digest = hashlib.sha256(rank_file(encoding)).hexdigest()
    encoding.name = f"bpe-{encoding.n_vocab}-{digest[:8]}"
    return encoding


def write(folder: Path, merges: list[Merge]) -> None:
    """Write both files into a folder: the same merges, the same bytes."""
    write_file(folder / RANKS, rank_file(encoding_of(merges)))
    write_file(folder / TOKENIZER, tokenizer_json(merges))


def load(folder: Path) -> tiktoken.Encoding:
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
    return _encoding(tokens)


def _ranked(line: bytes) -> tuple[bytes, int]:
    token, rank = line.split(b" ")
    return base64.b64decode(token, validate=True), int(rank)


def tokenizer_json(merges: list[Merge]) -> bytes:
    """The vocabulary as Hugging Face's tokenizers and transformers read it.

    Their `encode` takes the text <|endoftext|> for end-of-text; tiktoken's `encode_ordinary`, which
    the bins are made with, does not.
    """
    letters = _letters()
    pairs = [["".join(letters[byte] for byte in token) for token in merge] for merge in merges]
    tokens = [*letters, *map("".join, pairs)]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    model = {
        "type": "BPE",
        **dict.fromkeys(("dropout", "unk_token", "continuing_subword_prefix")),
        "vocab": {token: rank for rank, token in enumerate(tokens)},
        "merges": [*map(" ".join, pairs)],  # no letter is a space
    }
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    whole = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": len(tokens), "content": END_OF_TEXT, **flags, "special": True}],
        "normalizer": None,
        "pre_tokenizer": {**level, "use_regex": True},  # that is GPT-2's pattern
        "post_processor": None,
        "decoder": {**level, "use_regex": True},
        "model": model,
    }
    return to_json(whole)


def _letters() -> list[str]:
    """GPT-2's letter for each byte: its own where Latin-1 shows one, else one from U+0100 on."""
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return [chr(byte if byte in shown else next(spare)) for byte in range(256)]
