"""What are a document's ids by definition? Those of the reference.

For a published encoding, for bytes and for a vocabulary that was trained here it is tiktoken's
`encode_ordinary`: the text of a special token is ordinary text. For a tokenizer.json it is
`encode(text, add_special_tokens=False)` of Hugging Face's tokenizers, where the text of a special
token is that token.
"""

from collections.abc import Callable

import numpy as np

from slm.text.blocks import Block
from slm.tokens.from_file import Encoding, FileTokenizer
from slm.tokens.vocabulary import encode

Encode = Callable[[Block], tuple[np.ndarray, np.ndarray]]  # ids uint32, tokens per document int64

# tiktoken's regular expressions fail on this many whitespace characters before another character.
SPACES = 999_999
SPACE = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
WHITESPACE = (
    "holds a run of 999,999 or more whitespace characters, which tiktoken cannot split; shorten it "
    "in the source"
)


class Unencodable(Exception):
    """tiktoken cannot split this document: a run of 999,999 or more whitespace characters."""

    def __init__(self, document: int) -> None:
        super().__init__(WHITESPACE)
        self.document = document  # number in its split


def reference(encoding: Encoding) -> Encode:
    """Returns a function from a `Block` to (tokens,) uint32 ids and (documents,) int64 lengths.

    It raises Unencodable if tiktoken cannot split a document.
    """

    def documents(block: Block) -> tuple[np.ndarray, np.ndarray]:
        return joined([reference_ids(encoding, block, i) for i in range(block.documents)])

    return encoding.encode_block if isinstance(encoding, FileTokenizer) else documents


def reference_ids(encoding: Encoding, block: Block, i: int) -> np.ndarray:
    """Returns the ids of document `i` of a block, (tokens,) uint32."""
    try:
        return encode(encoding, block.text(i))
    except ValueError as error:
        if "backtracking" not in str(error):
            raise
        raise Unencodable(block.first + i) from None


def joined(documents: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ids of documents end to end, and their lengths."""
    lengths = np.array([len(ids) for ids in documents], np.int64)
    return np.concatenate([np.empty(0, np.uint32), *documents]), lengths


def with_long_space(block: Block) -> list[int]:
    """Returns the documents, from 0 in the block, with SPACES whitespace characters in a run."""
    long = np.flatnonzero(np.diff(block.offsets) >= SPACES).tolist()
    return [i for i in long if _has_long_space(block.text(i))]


def _has_long_space(text: str) -> bool:
    # Every run of SPACES characters covers one of these positions.
    for position in range(SPACES - 1, len(text), SPACES):
        if text[position] not in SPACE:
            continue
        start = len(text[:position].rstrip(SPACE))
        if len(text) - len(text[position:].lstrip(SPACE)) - start >= SPACES:
            return True
    return False
