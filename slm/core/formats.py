"""What do the JSON files between stages hold? One line for each key.

The state of batches is here, too; manifest.json is in slm.bins.manifest.
"""

from typing import Any, TypedDict


class FileEntry(TypedDict):
    """A file in manifest.json."""

    bytes: int  # length of the file
    sha256: list[str]  # hexadecimal, of each 16 MiB, in order


class Vocabulary(TypedDict):
    """vocabulary.json, and `tokenizer` of the manifest: what identifies a vocabulary."""

    encoding: str  # tiktoken's name, or bpe-<ids>-<hash of its ranks> for one trained here
    pattern: str  # the regular expression that splits text
    vocab_size: int  # ids, special tokens included
    ranks_sha256: str  # hexadecimal, of the ranks as a .tiktoken file
    end_of_text: int  # id


class TokenHashes(TypedDict):
    """The SHA-256, in hexadecimal, of each 16 MiB of the two files of a split, in order."""

    ids: list[str]  # of <split>.ids
    totals: list[str]  # of <split>.totals


class TokenSplit(TypedDict):
    """The tokens of a split."""

    tokens: int
    documents: int
    bytes: int  # UTF-8, of text
    sha256: TokenHashes


class Tokens(TypedDict):
    """tokens.json."""

    source: dict[str, Any]  # source.json, with `files` by split in place of `splits`
    vocabulary: Vocabulary
    splits: dict[str, TokenSplit]  # by name


class State(TypedDict):
    """The state of slm.batching.Batches, as `state_dict` returns it."""

    rows: int  # drawn so far, over all ranks
    seed: int
    order: str  # one of slm.batching.sampling.ORDERS
    block_size: int  # tokens per row
    global_batch: int  # rows per step, over all ranks
    split: str
    data: str  # SHA-256 of the manifest, hexadecimal
