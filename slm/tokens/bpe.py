"""What is a vocabulary that was trained here, and how do other libraries load it?

In: the merges of byte-level BPE, in order. Out: tiktoken's encoding, and two files from which
tiktoken, gigatoken and Hugging Face's tokenizers give the same ids: vocabulary.tiktoken (the
ranks, see slm.tokens.vocabulary) and tokenizer.json. The same merges give the same bytes. The
merges are derived again from the ranks, which the bins hold.
"""

from itertools import pairwise
from pathlib import Path

import tiktoken

from slm.core.files import to_json
from slm.tokens.from_file import FILE, Encoding, letters
from slm.tokens.patterns import GPT2, named
from slm.tokens.published import BYTES
from slm.tokens.vocabulary import TRAINED, describe, own_files, trained_encoding

NAMED = "vocabulary.json"
Merge = tuple[bytes, bytes]  # the left token and the right token


def encoding_of(
    merges: list[Merge], pattern: str = GPT2.name, special: tuple[str, ...] = ()
) -> tiktoken.Encoding:
    """Returns tiktoken's encoding with these merges, named bpe-<ids>-<hash>."""
    tokens = (*BYTES, *(left + right for left, right in merges))
    return trained_encoding(tokens, pattern, special)


def merges_of(encoding: tiktoken.Encoding) -> list[Merge]:
    """Returns the merges of an encoding, in order: of a trained one, the inverse of `encoding_of`.

    The earlier merges, applied to the bytes of a token, leave two parts: these are its merge. No
    merge of the training crossed the ends of the token, so its bytes alone decide. A published
    encoding may have tokens that no pair makes, which are no merges.
    """
    ranks = encoding._mergeable_ranks
    tokens = sorted(ranks, key=ranks.__getitem__)[len(BYTES) :]
    parts = (_parts(token, ranks) for token in tokens)
    return [(part[0], part[1]) for part in parts if len(part) == 2]


def splits_of(encoding: tiktoken.Encoding) -> list[Merge]:
    """Returns every pair of tokens that tiktoken merges, in order of the rank of what they make.

    It merges any two neighbours that make a token, while others merge listed pairs alone. That is
    the same, unless the merges of a token's own bytes do not lead to it, as in Llama-3's ranks.
    """
    ranks = encoding._mergeable_ranks
    return [
        (token[:i], token[i:])
        for token in sorted(ranks, key=ranks.__getitem__)
        for i in range(1, len(token))
        if token[:i] in ranks and token[i:] in ranks
    ]


def _parts(token: bytes, ranks: dict[bytes, int]) -> list[bytes]:
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        pairs = [ranks.get(left + right, len(ranks)) for left, right in pairwise(parts)]
        if (lowest := min(pairs)) >= ranks[token]:
            break
        first = pairs.index(lowest)
        parts[first : first + 2] = [parts[first] + parts[first + 1]]
    return parts


def write_vocabulary(folder: Path, encoding: Encoding) -> None:
    """Writes vocabulary.json, and the files of a vocabulary that is not a published one."""
    (folder / NAMED).write_bytes(to_json(describe(encoding)))
    for name, content in own_files(encoding).items():
        (folder / name).write_bytes(content)
    if isinstance(encoding, tiktoken.Encoding) and encoding.name.startswith(TRAINED):
        (folder / FILE).write_bytes(tokenizer_json(encoding))


def tokenizer_json(encoding: tiktoken.Encoding, whole_pieces: bool = False) -> bytes:
    """Returns the tokenizer.json of Hugging Face's tokenizers and transformers.

    Their `encode` turns the text <|endoftext|> into the id of end-of-text; tiktoken's
    `encode_ordinary`, which makes the bins, does not. With `whole_pieces` it has no special tokens,
    a piece of text that is a token is that token (`ignore_merges`), and all pairs that make tokens
    are merges: so Llama-3's own file has it.
    """
    special = {} if whole_pieces else encoding._special_tokens
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": token, **flags, "special": True} for token, i in special.items()
        ],
        "normalizer": None,
        "pre_tokenizer": _splitting(encoding, level),
        "post_processor": None,
        "decoder": {**level, "use_regex": True},
        "model": _model(encoding, whole_pieces),
    }
    return to_json(content)


def _model(encoding: tiktoken.Encoding, whole_pieces: bool) -> dict:
    letter, ranks = letters(), encoding._mergeable_ranks
    merges = splits_of(encoding) if whole_pieces else merges_of(encoding)

    def written(token: bytes) -> str:
        return "".join(letter[byte] for byte in token)

    return {
        "type": "BPE",
        **dict.fromkeys(("dropout", "unk_token", "continuing_subword_prefix")),
        **({"ignore_merges": True} if whole_pieces else {}),
        "vocab": {written(token): ranks[token] for token in sorted(ranks, key=ranks.__getitem__)},
        "merges": [" ".join(map(written, merge)) for merge in merges],  # no letter is a space
    }


def _splitting(encoding: tiktoken.Encoding, level: dict) -> dict:
    """Returns the pre_tokenizer of an encoding's pattern."""
    pattern = named(encoding._pat_str)
    assert pattern  # trained here, or published with a known one
    if pattern == GPT2:
        return {**level, "use_regex": True}  # that is GPT-2's pattern
    split = {"type": "Split", "pattern": {"Regex": pattern.plain}, "behavior": "Isolated"}
    both = [{**split, "invert": False}, {**level, "use_regex": False}]
    return {"type": "Sequence", "pretokenizers": both}
