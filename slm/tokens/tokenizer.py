"""How does text become ids? By the reference, or by an engine that gives the same ones faster.

gigatoken encodes where it is installed and was proven: on the patterns of published vocabularies,
and on a tokenizer.json where a broad comparison finds it equal (slm.tokens.agreement). The ids of
`bytes` are the text itself. The reference encodes what is known to differ, and a sample of every
block.
"""

import importlib.util
from pathlib import Path

import numpy as np

from slm.core.errors import check
from slm.text.blocks import Block
from slm.tokens.agreement import compared
from slm.tokens.fast import Gigatoken, from_json, gigatoken
from slm.tokens.from_file import FileTokenizer
from slm.tokens.patterns import named
from slm.tokens.reference import Encode, Encoding, reference, reference_ids

ENGINES = ("gigatoken", "tiktoken")  # of params.yaml; the second stands for every reference
_SAMPLE = 4  # documents per block that the reference encodes again


def choose_engine(wanted: str, encoding: Encoding, known: Path | None = None) -> tuple[str, str]:
    """Returns the engine that will encode, and the reason if it is not the wanted one, or "".

    `known` is a folder that keeps what was found of a tokenizer.json, or None.
    """
    slow = "tokenizers" if isinstance(encoding, FileTokenizer) else "tiktoken"
    if encoding.name == "bytes":
        return "bytes", ""
    if wanted == "tiktoken":
        return slow, ""
    if importlib.util.find_spec("gigatoken") is None:
        return slow, "gigatoken is not installed here"
    if isinstance(encoding, FileTokenizer):
        why = compared(encoding, known).why
        return (slow, why) if why else ("gigatoken", "")
    ranks = encoding._mergeable_ranks
    if not named(encoding._pat_str) or len(ranks) != max(ranks.values()) + 1:
        return slow, f"gigatoken was not proven on the pattern of {encoding.name}"
    return "gigatoken", ""


def encoder(engine: str, encoding: Encoding, known: Path | None = None) -> Encode:
    """Returns a function from a `Block` to (tokens,) uint32 ids and (documents,) int64 lengths.

    `engine` is what `choose_engine` returned. Any thread may call it. It raises UserError if a
    sample of the documents has other ids than the reference's, and Unencodable if tiktoken cannot
    split a document, with either engine.
    """
    encode = _encode(engine, encoding, known)

    def proven(block: Block) -> tuple[np.ndarray, np.ndarray]:
        ids, lengths = encode(block)
        _compare(ids, lengths, encoding, block)
        return ids, lengths

    return proven


def _encode(engine: str, encoding: Encoding, known: Path | None) -> Encode:
    if engine == "bytes":
        return _bytes
    if engine != "gigatoken":
        return reference(encoding)
    if isinstance(encoding, FileTokenizer):
        content, gaps = encoding.content, compared(encoding, known).gaps
        return Gigatoken(encoding, lambda: from_json(content), gaps)
    return gigatoken(encoding)


def _bytes(block: Block) -> tuple[np.ndarray, np.ndarray]:
    return block.data.astype(np.uint32), np.diff(block.offsets)


def _compare(ids: np.ndarray, lengths: np.ndarray, encoding: Encoding, block: Block) -> None:
    ends, documents = np.cumsum(lengths), block.documents
    for i in {round(i) for i in np.linspace(0, documents - 1, min(_SAMPLE, documents))}:
        check(
            np.array_equal(ids[ends[i] - lengths[i] : ends[i]], reference_ids(encoding, block, i)),
            f"document {block.first + i} does not have the reference's ids; set tokenizer.engine: "
            "tiktoken in params.yaml, and report the document: the engine differs on it",
        )
