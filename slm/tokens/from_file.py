"""How is text tokenized by a tokenizer.json, the file of Hugging Face's tokenizers?

In: the bytes of the file, and the special token that ends a document, if any. Out: a tokenizer with
the methods of tiktoken's encodings that are used here. Whole documents are encoded: truncation and
padding, which such a file may ask for, are off. Nothing in the file is run.
"""

import hashlib
import json
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import tiktoken

from slm.core.errors import UserError, check

TYPE_CHECKING = False  # a machine that decodes ids of a published encoding needs tiktoken alone
if TYPE_CHECKING:
    from slm.text.blocks import Block

FILE = "tokenizer.json"
NAME = "file-"  # begins the name of such a vocabulary
_TOGETHER = 2**20  # bytes of text at a time: an Encoding takes a hundred bytes per token
_AROUND = ("continuing_subword_prefix", "end_of_word_suffix")  # of a token, and no text
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class FileTokenizer:
    """A tokenizer.json."""

    def __init__(
        self, content: bytes, end_of_text: str | int | None = None, source: str | None = None
    ) -> None:
        self.source = source  # where on the hub it is from, as "owner/name@commit"
        self.content, self.sha256 = content, hashlib.sha256(content).hexdigest()
        self.tokenizer, self.about = _parsed(content)
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.ids = self.tokenizer.get_vocab(with_added_tokens=True)
        self.n_vocab = max(self.ids.values(), default=-1) + 1
        added = self.tokenizer.get_added_tokens_decoder()
        self.special = {token.content: i for i, token in added.items() if token.special}
        self.eot_token = None if end_of_text is None else self._special_id(end_of_text)
        self.name = f"{NAME}{self.n_vocab}-{self.sha256[:8]}"

    def _special_id(self, token: str | int) -> int:
        """Returns the id of a special token, which is given by its text or by its id."""
        known = ", ".join(list(self.special)[:12]) or "none"
        check(
            token in self.special or token in self.special.values(),
            f"tokenizer.end_of_text is {token!r}, which is no special token of the file; "
            f"it has {known}",
        )
        return token if isinstance(token, int) else self.special[token]

    @property
    def model(self) -> str:
        """Returns the kind of its model: BPE, Unigram, WordPiece or WordLevel."""
        return self.about["model"].get("type") or type(self.tokenizer.model).__name__

    def encode_ordinary(self, text: str) -> list[int]:
        """Returns the ids of a text, with no special token added."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def encode_block(self, block: "Block") -> tuple[np.ndarray, np.ndarray]:
        """Returns the ids of a block's documents, (tokens,) uint32, and their lengths, int64."""
        parts, lengths = [np.empty(0, np.uint32)], list[int]()
        ends = np.searchsorted(
            block.offsets, np.arange(_TOGETHER, block.offsets[-1] + _TOGETHER, _TOGETHER), "right"
        )
        bounds = np.unique([0, *(ends - 1).clip(0), block.documents]).tolist()
        for start, end in pairwise(bounds):
            texts = [block.text(i) for i in range(start, end)]
            made = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            lengths += [len(encoding.ids) for encoding in made]
            parts += [np.array(encoding.ids, np.uint32) for encoding in made]
        return np.concatenate(parts), np.array(lengths, np.int64)

    def decode(self, ids: list[int]) -> str:
        """Returns the text of ids, special tokens written out."""
        return self.tokenizer.decode(ids, skip_special_tokens=False)

    def decode_bytes(self, ids: list[int]) -> bytes:
        """Returns the text of ids as UTF-8."""
        return self.decode(ids).encode()

    def token_bytes(self) -> list[bytes]:
        """Returns the bytes of each id, b"" for a special token.

        U+2581 counts as a space, also where the tokenizer itself adds it at a document's start.
        """
        added = self.tokenizer.get_added_tokens_decoder()
        of_token, made = _reader(self.about), [b""] * self.n_vocab
        unknown = self.about["model"].get("unk_token") or ""
        for token, i in self.ids.items():
            if i in added:
                made[i] = b"" if added[i].special else added[i].content.encode()
            elif token != unknown and i != self.about["model"].get("unk_id"):
                made[i] = of_token(token)
        return made

    def lossy(self, block: "Block", ids: np.ndarray, lengths: np.ndarray) -> int:
        """Returns how many documents of a block their ids do not give back."""
        ends = np.cumsum(lengths).tolist()
        documents = [ids[end - n : end].tolist() for end, n in zip(ends, lengths, strict=True)]
        texts = self.tokenizer.decode_batch(documents, skip_special_tokens=False)
        return sum(text != block.text(i) for i, text in enumerate(texts))


Encoding = tiktoken.Encoding | FileTokenizer


def _parsed(content: bytes) -> tuple[Any, dict]:
    """Returns the tokenizer, and what the file says.

    Raises UserError if the file is none, has no tokens, or draws by chance.
    """
    import tokenizers

    try:
        made = tokenizers.Tokenizer.from_str(content.decode())
        about = json.loads(content)
    except Exception as error:  # tokenizers raises Exception itself
        raise UserError(
            f"this is no tokenizer.json ({error}); `Tokenizer.save` of tokenizers, or "
            "`save_pretrained` of transformers, writes one"
        ) from None
    check(bool(made.get_vocab(False)), "the tokenizer.json has no tokens; train it first")
    check(
        not about["model"].get("dropout"),
        "the tokenizer.json has BPE dropout, by which the same text has other ids each time; set "
        "`dropout` to null in it",
    )
    return made, about


def _reader(about: dict) -> Callable[[str], bytes]:
    """Returns a function from a token, as the file writes it, to the bytes that it stands for."""
    parts = [about.get(key) for key in ("normalizer", "pre_tokenizer", "decoder")]
    written = json.dumps(parts, ensure_ascii=False)
    if '"ByteLevel"' in written:
        byte_of = {letter: byte for byte, letter in enumerate(letters())}
        return lambda token: b"".join(
            bytes([byte_of[letter]]) if letter in byte_of else letter.encode() for letter in token
        )
    model, replacements = about["model"], re.findall('"replacement": "(.)"', written)
    prefix, suffix = (model.get(key) or "" for key in _AROUND)
    space = replacements[0] if replacements else "\u2581" if "\u2581" in written else " "

    def read(token: str) -> bytes:
        if byte := _BYTE.fullmatch(token):
            return bytes([int(byte[1], 16)])
        return token.removeprefix(prefix).removesuffix(suffix).replace(space, " ").encode()

    return read


VISIBLE = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}  # bytes of Latin-1


def letters() -> list[str]:
    """Returns GPT-2's letter for each byte: a visible Latin-1 one, else one from U+0100 on."""
    spare = iter(range(0x100, 0x200))
    return [chr(byte if byte in VISIBLE else next(spare)) for byte in range(256)]
