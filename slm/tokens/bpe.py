"""What is a vocabulary that was trained here, and how do other libraries load it?

In: the merges of byte-level BPE, in order. Out: tiktoken's encoding, and two files from which
tiktoken, gigatoken and Hugging Face's tokenizers give the same ids: vocabulary.tiktoken (the
ranks, see slm.tokens.vocabulary) and tokenizer.json. The same merges give the same bytes. The
merges are derived again from the ranks, which the bins hold.
"""

from itertools import count, pairwise
from pathlib import Path

import tiktoken

from slm.core.files import to_json
from slm.tokens.vocabulary import (
    BYTES,
    END_OF_TEXT,
    RANKS,
    TRAINED,
    describe,
    rank_file,
    trained_encoding,
)

NAMED, TOKENIZER = "vocabulary.json", "tokenizer.json"
VISIBLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}  # bytes of Latin-1
SMALLEST = 257  # ids: the 256 bytes and end-of-text
Merge = tuple[bytes, bytes]  # the left token and the right token


def encoding_of(merges: list[Merge]) -> tiktoken.Encoding:
    """Returns tiktoken's encoding with these merges, named bpe-<ids>-<hash of its ranks>."""
    return trained_encoding((*BYTES, *(left + right for left, right in merges)))


def merges_of(encoding: tiktoken.Encoding) -> list[Merge]:
    """Returns the merges of a trained encoding, in order: the inverse of `encoding_of`.

    The earlier merges, applied to the bytes of a token, leave two parts: these are its merge. No
    merge of the training crossed the ends of the token, so its bytes alone decide.
    """
    ranks = encoding._mergeable_ranks
    tokens = sorted(ranks, key=ranks.__getitem__)[len(BYTES) :]
    return [_parts(token, ranks) for token in tokens]


def _parts(token: bytes, ranks: dict[bytes, int]) -> Merge:
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        pairs = [ranks.get(left + right, len(ranks)) for left, right in pairwise(parts)]
        first = pairs.index(min(pairs))
        parts[first : first + 2] = [parts[first] + parts[first + 1]]
    return parts[0], parts[1]


def write_vocabulary(folder: Path, encoding: tiktoken.Encoding) -> None:
    """Writes vocabulary.json, and both files of a vocabulary that was trained here."""
    (folder / NAMED).write_bytes(to_json(describe(encoding)))
    if encoding.name.startswith(TRAINED):
        (folder / RANKS).write_bytes(rank_file(encoding))
        (folder / TOKENIZER).write_bytes(tokenizer_json(merges_of(encoding)))


def tokenizer_json(merges: list[Merge]) -> bytes:
    """Returns the tokenizer.json of Hugging Face's tokenizers and transformers.

    Their `encode` turns the text <|endoftext|> into the id of end-of-text; tiktoken's
    `encode_ordinary`, which makes the bins, does not.
    """
    # GPT-2's letter for each byte: a visible Latin-1 one, else one from U+0100 on.
    spare = count(0x100)
    letters = [chr(byte if byte in VISIBLE else next(spare)) for byte in range(256)]
    pairs = [["".join(letters[byte] for byte in token) for token in merge] for merge in merges]
    tokens = [*letters, *map("".join, pairs)]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": len(tokens), "content": END_OF_TEXT, **flags, "special": True}],
        "normalizer": None,
        "pre_tokenizer": {**level, "use_regex": True},  # that is GPT-2's pattern
        "post_processor": None,
        "decoder": {**level, "use_regex": True},
        "model": {
            "type": "BPE",
            **dict.fromkeys(("dropout", "unk_token", "continuing_subword_prefix")),
            "vocab": {token: rank for rank, token in enumerate(tokens)},
            "merges": [*map(" ".join, pairs)],  # no letter is a space
        },
    }
    return to_json(content)
