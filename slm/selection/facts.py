"""What is known of each document? A hash and a length, made once, in the pass that reads the text.

A record for each document, in source order:
    hash    16 bytes: BLAKE2b with a digest of 16 bytes, of the document's text in UTF-8
    bytes   uint64: the length of that text
"""

from hashlib import blake2b
from itertools import pairwise

import numpy as np

from slm.text.blocks import Block

HASH_BYTES = 16
FACTS = np.dtype([("hash", f"V{HASH_BYTES}"), ("bytes", "<u8")])


def facts_of(block: Block) -> np.ndarray:
    """Returns (documents,) FACTS of a block."""
    content = block.data.tobytes()
    hashes = [
        blake2b(content[start:end], digest_size=HASH_BYTES).digest()
        for start, end in pairwise(block.offsets.tolist())
    ]
    facts = np.empty(block.documents, FACTS)
    facts["hash"] = np.frombuffer(b"".join(hashes), f"V{HASH_BYTES}")
    facts["bytes"] = np.diff(block.offsets)
    return facts
