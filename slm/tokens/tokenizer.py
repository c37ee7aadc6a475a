"""How does text become ids?

tiktoken is the reference: the ids of a document are those of its `encode_ordinary`, for every
valid Unicode string; the text of a special token is ordinary text. gigatoken gives the same ids
many times faster, if it is installed and the encoding splits text by GPT-2's pattern. The reference
encodes the documents on which gigatoken is known to differ, and a sample of every block.
"""

import importlib.util
import tempfile
import threading
from collections.abc import Callable
from functools import cache

import numpy as np
import psutil
import tiktoken

from slm.core.errors import check
from slm.text.blocks import Block
from slm.tokens.unicode_gaps import documents_with_gaps
from slm.tokens.vocabulary import rank_file

ENGINES = ("gigatoken", "tiktoken")
Encode = Callable[[Block], tuple[np.ndarray, np.ndarray]]  # ids uint32, tokens per document int64

# tiktoken's regular expressions fail on this many whitespace characters before another character.
_SPACES = 999_999
_SPACE = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_SAMPLE = 4  # documents per block that the reference encodes again
_CACHE_BYTES = 200 * 2**20  # gigatoken's cache is dropped when the process has grown by this


WHITESPACE = (
    "holds a run of 999,999 or more whitespace characters, which tiktoken cannot split; shorten it "
    "in the source"
)


class Unencodable(Exception):
    """tiktoken cannot split this document: a run of 999,999 or more whitespace characters."""

    def __init__(self, document: int) -> None:
        super().__init__(WHITESPACE)
        self.document = document  # number in its split


def choose_engine(wanted: str, encoding: tiktoken.Encoding) -> tuple[str, str]:
    """Returns the engine that will encode, and the reason if it is not the wanted one, or ""."""
    if wanted == "tiktoken":
        return "tiktoken", ""
    if importlib.util.find_spec("gigatoken") is None:
        return "tiktoken", "gigatoken is not installed here"
    ranks = encoding._mergeable_ranks
    if not _splits_as_gpt2(encoding) or len(ranks) != max(ranks.values()) + 1:
        return "tiktoken", f"gigatoken was not proven on the pattern of {encoding.name}"
    return "gigatoken", ""


@cache
def _splits_as_gpt2(encoding: tiktoken.Encoding) -> bool:
    return encoding._pat_str == tiktoken.get_encoding("gpt2")._pat_str


def encoder(engine: str, encoding: tiktoken.Encoding) -> Encode:
    """Returns a function from a `Block` to (tokens,) uint32 ids and (documents,) int64 lengths.

    Any thread may call it. It raises UserError if a sample of the documents has other ids than the
    reference's, and Unencodable if tiktoken cannot split a document, with either engine.
    """
    encode = _ENCODERS[engine](encoding)

    def proven(block: Block) -> tuple[np.ndarray, np.ndarray]:
        if _splits_as_gpt2(encoding):
            for i in np.flatnonzero(np.diff(block.offsets) > _SPACES).tolist():
                if _long_space(block.text(i)):
                    raise Unencodable(block.first + i)
        ids, lengths = encode(block)
        _compare(ids, lengths, encoding, block)
        return ids, lengths

    return proven


def _with_tiktoken(encoding: tiktoken.Encoding) -> Encode:
    def encode(block: Block) -> tuple[np.ndarray, np.ndarray]:
        documents = []
        for i in range(block.documents):
            try:
                documents.append(_reference(encoding, block.text(i)))
            except ValueError as error:
                if "backtracking" not in str(error):
                    raise
                raise Unencodable(block.first + i) from None
        lengths = np.array([len(ids) for ids in documents], np.int64)
        return np.concatenate([np.empty(0, np.uint32), *documents]), lengths

    return encode


def _reference(encoding: tiktoken.Encoding, text: str) -> np.ndarray:
    """Returns the ids of encode_ordinary, (tokens,) uint32, without its list of integers."""
    return encoding.encode_to_numpy(text, allowed_special=set(), disallowed_special=())


class Gigatoken(threading.local):
    """gigatoken's encoder; each thread has its own engine, whose cache is dropped when it grows."""

    def __init__(self, encoding: tiktoken.Encoding) -> None:
        self._encoding, self._process = encoding, psutil.Process()
        self._engine, self._rss = None, 0

    def __call__(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """Returns the ids of a block, (tokens,) uint32, and (documents,) int64 lengths."""
        if self._engine is None or self._process.memory_info().rss - self._rss > _CACHE_BYTES:
            self._engine = None  # frees the old cache first
            self._engine = _gigatoken(rank_file(self._encoding))
            self._rss = self._process.memory_info().rss
        ids, lengths = _encode_block(self._engine, block)
        if not (differing := documents_with_gaps(block)):
            return ids, lengths
        pieces = np.split(ids, np.cumsum(lengths)[:-1])
        for i in differing:
            pieces[i] = _reference(self._encoding, block.text(i))
        return np.concatenate(pieces), np.array([len(piece) for piece in pieces])


_ENCODERS: dict[str, Callable[[tiktoken.Encoding], Encode]] = {
    "gigatoken": Gigatoken,
    "tiktoken": _with_tiktoken,
}


def _gigatoken(ranks: bytes):
    import gigatoken  # 0.2 s, and not everyone has it

    with tempfile.NamedTemporaryFile(suffix=".tiktoken") as file:
        file.write(ranks)
        file.flush()
        # With special_tokens={} the text <|endoftext|> is text, as it is to encode_ordinary.
        return gigatoken.Tokenizer.from_tiktoken(file.name, "gpt2", special_tokens={})


def _encode_block(engine, block: Block) -> tuple[np.ndarray, np.ndarray]:
    import awkward as ak

    text = ak.contents.NumpyArray(block.data, parameters={"__array__": "char"})
    documents = ak.contents.ListOffsetArray(
        ak.index.Index64(block.offsets), text, parameters={"__array__": "string"}
    )
    # parallel=False: several threads encode a block each
    encoded = engine.encode_batch(ak.Array(documents), parallel=False).layout
    return np.asarray(encoded.content.data), np.diff(encoded.offsets.data)


def _compare(ids: np.ndarray, lengths: np.ndarray, encoding, block: Block) -> None:
    ends, documents = np.cumsum(lengths), block.documents
    for i in {round(i) for i in np.linspace(0, documents - 1, min(_SAMPLE, documents))}:
        text = block.text(i)
        long = len(text) > 2**20  # a list of integers takes thirty times its text
        expected = _reference(encoding, text) if long else encoding.encode_ordinary(text)
        check(
            np.array_equal(ids[ends[i] - lengths[i] : ends[i]], expected),
            f"document {block.first + i} does not have tiktoken's ids; set tokenizer.engine: "
            "tiktoken in params.yaml, and report the document: gigatoken differs on it",
        )


def _long_space(text: str) -> bool:
    # Every run of _SPACES characters covers one of these positions.
    for position in range(_SPACES - 1, len(text), _SPACES):
        if text[position] not in _SPACE:
            continue
        start = len(text[:position].rstrip(_SPACE))
        end = len(text) - len(text[position:].lstrip(_SPACE))
        if end - start >= _SPACES and end < len(text):
            return True
    return False
