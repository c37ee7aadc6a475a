"""What do the JSON files between stages hold? One line for each key.

The state of batches is here, too; manifest.json is in slm.bins.manifest.
"""

from typing import Any, NotRequired, TypedDict


class FileEntry(TypedDict):
    """A file in manifest.json."""

    bytes: int  # length of the file
    sha256: list[str]  # hexadecimal, of each 16 MiB, in order


class Vocabulary(TypedDict):
    """vocabulary.json, and `tokenizer` of the manifest: what identifies a vocabulary."""

    encoding: str  # a published name, or bpe-<ids>-<hash> or file-<ids>-<hash>
    pattern: NotRequired[str]  # the regular expression that splits text
    model: NotRequired[str]  # of a tokenizer.json, in place of a pattern: BPE, Unigram, …
    vocab_size: int  # ids, special tokens included
    ranks_sha256: NotRequired[str]  # hexadecimal, of the ranks as a .tiktoken file
    file_sha256: NotRequired[str]  # of a tokenizer.json, in place of ranks
    source: NotRequired[str]  # of a tokenizer.json of the hub: owner/name@commit
    end_of_text: int | None  # id; None for a tokenizer.json that names none
    license: NotRequired[str]  # of the ranks, where they are not free of terms
    special_tokens: NotRequired[list[str]]  # of one trained here: those before end-of-text


class TokenHashes(TypedDict):
    """The SHA-256, in hexadecimal, of each 16 MiB of the two files of a split, in order."""

    ids: list[str]  # of <split>.ids, or <unit>.ids
    totals: list[str]  # of <split>.totals, or <unit>.totals


class TokenSplit(TypedDict):
    """The tokens of a split."""

    tokens: int
    documents: int
    bytes: int  # UTF-8, of text
    lossy_documents: NotRequired[int]  # of a tokenizer.json: whose ids do not give the text back
    sha256: NotRequired[TokenHashes]  # of a split that is one unit
    units: NotRequired[list["TokenSplit"]]  # of others: those of each, in order


def unit_name(split: str, number: int, units: int) -> str:
    """Returns the name of unit `number`, from 0, of so many; of a single one the split's."""
    return split if units == 1 else shard_name(split, number, units)


def shard_name(split: str, number: int, shards: int) -> str:
    """Returns the name of the files of shard `number`, from 0, of so many."""
    return f"{split}-{number:05d}-of-{shards:05d}"


def units_of(split: str, entry: TokenSplit) -> list[tuple[str, TokenSplit]]:
    """Returns the name and the entry of each unit of a split, in order."""
    units = entry.get("units", [entry])
    return [(unit_name(split, i, len(units)), unit) for i, unit in enumerate(units)]


class Tokens(TypedDict):
    """tokens.json."""

    source: dict[str, Any]  # source.json, with `files` by split in place of `splits`
    vocabulary: Vocabulary
    splits: dict[str, TokenSplit]  # by name


class State(TypedDict):
    """The state of slm.batching.Batches, as `state_dict` returns it."""

    rows: int  # drawn so far, over all ranks
    sampling: int  # slm.batching.sampling.VERSION
    seed: int
    order: str  # one of slm.batching.sampling.ORDERS
    block_size: int  # tokens per row
    global_batch: int  # rows per step, over all ranks
    split: str
    data: Any  # SHA-256 of the manifest, hexadecimal; of a mixture [name, SHA-256] of each source
    stages: NotRequired[list]  # of a mixture: [step, weights]
