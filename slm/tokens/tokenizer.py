"""How does text become ids?

tiktoken is the reference: the ids of a document are those of its `encode_ordinary`, for every
valid Unicode string; the text of a special token is ordinary text. gigatoken gives the same ids
many times faster where it is installed and the encoding splits text by GPT-2's pattern; what it
is known to do differently goes to the reference, and a sample of every block is compared with it.
"""

import importlib.util
import tempfile
import threading
from collections.abc import Callable
from functools import cache

import numpy as np
import psutil
import tiktoken

from slm.core.errors import UserError
from slm.text.blocks import Block
from slm.tokens.unicode_gaps import documents_with_gaps
from slm.tokens.vocabulary import rank_file

ENGINES = ("gigatoken", "tiktoken")
Encode = Callable[[Block], tuple[np.ndarray, np.ndarray]]  # ids uint32, tokens per document int64

# tiktoken's regular expression engine gives up on this many whitespace characters before another.
_SPACES = 999_999
_SPACE = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_SAMPLE = 4  # documents of each block that are encoded a second time by the reference
_CACHE_BYTES = 200 * 2**20  # growth of this process after which gigatoken's cache is dropped


class Unencodable(Exception):
    """tiktoken cannot split this document: a run of 999,999 or more whitespace characters."""

    def __init__(self, document: int) -> None:
        super().__init__(document)
        self.document = document  # number in its split


def choose_engine(wanted: str, encoding: tiktoken.Encoding) -> tuple[str, str]:
    """The engine that will encode, and why it is not the one that was wanted (or "")."""
    if wanted == "tiktoken":
        return "tiktoken", ""
    if importlib.util.find_spec("gigatoken") is None:
        return "tiktoken", "gigatoken is not installed here"
    if not _fits_gigatoken(encoding):
        return "tiktoken", f"gigatoken was not proven on the pattern of {encoding.name}"
    return "gigatoken", ""


def _fits_gigatoken(encoding: tiktoken.Encoding) -> bool:
    ranks = encoding._mergeable_ranks
    return encoding._pat_str == _gpt2_pattern() and len(ranks) == max(ranks.values()) + 1


@cache
def _gpt2_pattern() -> str:
    return tiktoken.get_encoding("gpt2")._pat_str


def encoder(engine: str, encoding: tiktoken.Encoding) -> Encode:
    """A function from a `Block` to (ids uint32, tokens per document int64), for any thread.

    Raises UserError where a sample of the block's documents does not come out as the reference's,
    and Unencodable where tiktoken cannot split a document (both engines refuse the same ones).
    """
    encode = _with_gigatoken(encoding) if engine == "gigatoken" else _with_tiktoken(encoding)

    def proven(block: Block) -> tuple[np.ndarray, np.ndarray]:
        if encoding._pat_str == _gpt2_pattern():
            _refuse_long_space(block)
        ids, lengths = encode(block)
        _compare(ids, lengths, encoding, block)
        return ids, lengths

    return proven


def _with_tiktoken(encoding: tiktoken.Encoding) -> Encode:
    def encode(block: Block) -> tuple[np.ndarray, np.ndarray]:
        documents = [_or_refused(encoding, block, i) for i in range(block.documents)]
        lengths = np.array([len(ids) for ids in documents], np.int64)
        return np.concatenate([np.empty(0, np.uint32), *documents]), lengths

    return encode


def _with_gigatoken(encoding: tiktoken.Encoding) -> Encode:
    of_thread = threading.local()

    def encode(block: Block) -> tuple[np.ndarray, np.ndarray]:
        if not hasattr(of_thread, "engine"):
            of_thread.engine = Gigatoken(encoding)
        return of_thread.engine(block)

    return encode


def _or_refused(encoding: tiktoken.Encoding, block: Block, i: int) -> np.ndarray:
    try:
        return _encode_one(encoding, block.text(i))
    except ValueError as error:
        if "backtracking" not in str(error):
            raise
        raise Unencodable(block.first + i) from None


def _encode_one(encoding: tiktoken.Encoding, text: str) -> np.ndarray:
    # The ids of encode_ordinary, without its list of Python integers.
    return encoding.encode_to_numpy(text, allowed_special=set(), disallowed_special=())


class Gigatoken:
    """Encode with gigatoken: one for each thread. Its state is its cache, renewed as it grows."""

    def __init__(self, encoding: tiktoken.Encoding) -> None:
        self._encoding = encoding
        self._process = psutil.Process()
        self._renew()

    def _renew(self) -> None:
        self._engine = None  # the old cache goes before the new one comes
        self._engine = _gigatoken(rank_file(self._encoding))
        self._born_at = self._process.memory_info().rss

    def __call__(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """(ids uint32, tokens per document int64) of a block."""
        if self._process.memory_info().rss - self._born_at > _CACHE_BYTES:
            self._renew()
        ids, lengths = _encode_block(self._engine, block)
        newer = documents_with_gaps(block)
        return _replace(ids, lengths, self._encoding, block, newer) if newer else (ids, lengths)


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
    # parallel=False: this thread is one of several, each with its own blocks
    found = engine.encode_batch(ak.Array(documents), parallel=False).layout
    return np.asarray(found.content.data), np.diff(found.offsets.data)


def _replace(ids, lengths, encoding: tiktoken.Encoding, block: Block, documents: list[int]):
    """The same ids, but for `documents`, which the reference encodes."""
    pieces = np.split(ids, np.cumsum(lengths)[:-1])
    for i in documents:
        pieces[i] = _encode_one(encoding, block.text(i))
    return np.concatenate(pieces), np.array([len(piece) for piece in pieces])


def _compare(ids: np.ndarray, lengths: np.ndarray, encoding, block: Block) -> None:
    ends, documents = np.cumsum(lengths), block.documents
    for i in {round(i) for i in np.linspace(0, documents - 1, min(_SAMPLE, documents))}:
        text = block.text(i)
        # a list of integers takes thirty times its text
        long = len(text) > 2**20
        expected = _encode_one(encoding, text) if long else encoding.encode_ordinary(text)
        if not np.array_equal(ids[ends[i] - lengths[i] : ends[i]], expected):
            raise UserError(
                f"document {block.first + i} does not have tiktoken's ids; set tokenizer.engine: "
                "tiktoken in params.yaml, and report the document: gigatoken differs on it"
            )


def _refuse_long_space(block: Block) -> None:
    for i in np.flatnonzero(np.diff(block.offsets) > _SPACES).tolist():
        if _long_space(block.text(i)):
            raise Unencodable(block.first + i)


def _long_space(text: str) -> bool:
    # Every run of _SPACES characters covers one of these places.
    for place in range(_SPACES - 1, len(text), _SPACES):
        if text[place] not in _SPACE:
            continue
        start = len(text[:place].rstrip(_SPACE))
        end = len(text) - len(text[place:].lstrip(_SPACE))
        if end - start >= _SPACES and end < len(text):
            return True
    return False
