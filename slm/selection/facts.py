"""What is known of each document? A record of 32 bytes, made once, in the pass that reads the text.

<split>.facts has one for each document of the source, in source order, little-endian:
    hash     16 bytes: BLAKE2b with a digest of 16 bytes, of the document's text in UTF-8
    bytes    uint64: the length of that text
    words    uint32: as str.split() splits them, on Unicode whitespace
    faults   uint32: bit i is set where the document has fault i of FAULTS (slm.selection.audit)

facts.json has length and hashes of each of these files, by split.
"""

from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import numpy as np

from slm.core.files import read_json, to_json, write_hashed
from slm.selection.files import check_file
from slm.text.blocks import Block

NAME = "facts.json"
HASH_BYTES = 16
FACTS = np.dtype(
    [("hash", f"V{HASH_BYTES}"), ("bytes", "<u8"), ("words", "<u4"), ("faults", "<u4")]
)
FAULTS = (  # a new one goes last, so that the bits of the others stay
    "mojibake",
    "control_characters",
    "unfinished",
    "only_whitespace",
    "byte_order_marks",
    "replacement_characters",
)


def facts_of(block: Block, words: np.ndarray, faults: dict[str, np.ndarray]) -> np.ndarray:
    """Returns (documents,) FACTS of a block, its documents' words, and of each fault its rows."""
    facts = np.zeros(block.documents, FACTS)
    facts["hash"] = np.frombuffer(b"".join(hashes(block)), f"V{HASH_BYTES}")
    facts["bytes"] = np.diff(block.offsets)
    facts["words"] = words
    for fault, rows in faults.items():
        facts["faults"][rows] |= bit(fault)
    return facts


def hashes(block: Block) -> list[bytes]:
    """Returns the hash of each document of a block."""
    content = block.data.tobytes()
    return [
        blake2b(content[start:end], digest_size=HASH_BYTES).digest()
        for start, end in pairwise(block.offsets.tolist())
    ]


def bit(fault: str) -> int:
    """Returns the bit of a fault in `faults`."""
    return 1 << FAULTS.index(fault)


def write_facts(folder: Path, facts: dict[str, np.ndarray]) -> None:
    """Fills the empty folder `folder` with the facts of every split."""
    files = {s: write_hashed(folder / f"{s}.facts", [own]) for s, own in facts.items()}
    (folder / NAME).write_bytes(to_json(files))


def read_facts(folder: Path) -> dict[str, np.ndarray]:
    """Returns by split (documents,) FACTS; raises UserError if a file is missing or corrupt."""
    facts = {}
    for split, entry in read_json(folder / NAME).items():
        path = folder / f"{split}.facts"
        check_file(path, entry, NAME)
        facts[split] = np.fromfile(path, FACTS)
    return facts


def halves(facts: np.ndarray) -> np.ndarray:
    """Returns the hashes as (documents, 2) uint64, each half little-endian."""
    return np.ascontiguousarray(facts["hash"]).view("<u8").reshape(-1, 2)
