"""Facts about bits per byte: any vocabulary compares, and a wrong count of bytes is refused."""

import json
from itertools import pairwise
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch

from slm import bits_per_byte
from slm.bins.opening import Bins, open_bins
from slm.bins.writing.from_tokens import write_bins
from slm.core.errors import UserError
from slm.text.stories import stories
from slm.tokens.bpe import encoding_of, write_vocabulary
from slm.tokens.from_file import FileTokenizer
from slm.tokens.published import load_encoding
from slm.tokens.token_files import make_tokens
from slm.tokens.training.merges import train
from slm.tokens.wanted import Wanted
from tests.helpers import build, json_lines, one_line
from tests.tokens.trained import byte_level, unigram, word_piece

TEXTS = [*stories(1337, "train", 3), "naïve café 😊😊 “quotes” — 昔々", "", " 1 234\n\n"]
SHAPE = {"batch_size": 2, "block_size": 16}


def bins_of(folder: Path, encoding, policy: str = "none", texts=TEXTS) -> Bins:
    raw = build(folder, {"a.jsonl": json_lines(texts)})
    for name in ("vocabulary", "tokens", "bins"):
        (folder / name).mkdir()
    write_vocabulary(folder / "vocabulary", encoding)
    make_tokens(raw, encoding, folder / "tokens", "tiktoken", 1)
    write_bins(folder / "tokens", folder / "bins", policy, folder / "vocabulary")
    return open_bins(folder / "bins")


def model(size: int):
    """Logits from ids alone, the same for any vocabulary of this size."""
    columns = torch.arange(size, dtype=torch.float64)

    def logits(x: torch.Tensor) -> torch.Tensor:
        return (3 * torch.cos(0.37 * x[..., None].double() + 0.11 * columns)).float()

    return logits


def slowly(bins: Bins, size: int, encoding) -> float:
    """In float64, a target at a time; bytes are those of the text but for the first token's."""
    ids, bits, text = bins.ids("train").astype(np.int64), 0.0, 0
    is_file = isinstance(encoding, FileTokenizer)
    bytes_of = encoding.token_bytes().__getitem__ if is_file else encoding.decode_single_token_bytes
    for before, after in pairwise(ids):
        scores = 3 * np.cos(np.float64(0.37) * before + np.float64(0.11) * np.arange(size))
        bits += (np.log(np.exp(scores).sum()) - scores[after]) / log(2)
        is_text = after != bins.end_of_text
        text += len(bytes_of(int(after))) if is_text else 0
    return bits / text


@pytest.fixture(scope="module")
def of_bpe(tmp_path_factory):
    raw = build(tmp_path_factory.mktemp("bpe"), {"a.jsonl": json_lines(stories(1337, "train", 99))})
    return encoding_of(train(Wanted("bpe", 600, "cl100k"), raw), "cl100k")


SMALL = [(name, policy) for name in ("bpe", "bytes") for policy in ("none", "append", "prepend")]
LARGE = [("gpt2", "prepend"), ("cl100k_base", "append"), ("llama3", "none"), ("file", "append")]


@pytest.mark.parametrize(("name", "policy"), SMALL + LARGE)
def test_bits_per_byte_are_those_of_a_slow_computation(tmp_path, name, policy, of_bpe):
    own = {"bpe": of_bpe, "file": FileTokenizer(byte_level().encode(), "<|im_end|>")}
    encoding = own.get(name) or load_encoding(name)
    texts = TEXTS if (name, policy) in SMALL else TEXTS[3:]
    bins = bins_of(tmp_path, encoding, policy, texts)
    size = encoding.n_vocab + 5  # padded, as models are
    actual = bits_per_byte(model(size), bins, "train", **SHAPE)
    assert actual == pytest.approx(slowly(bins, size, encoding), rel=1e-5)
    assert bits_per_byte(lambda x: (model(size)(x), "more"), bins, "train", **SHAPE) == actual


def test_a_model_that_knows_nothing_has_the_bits_of_its_logits(tmp_path):
    bins = bins_of(tmp_path, load_encoding("bytes"))
    actual = bits_per_byte(lambda x: torch.zeros(*x.shape, 512), bins, "train", **SHAPE)
    assert actual == pytest.approx(9)
    assert bins.decode(bins.ids("train")) == "".join(TEXTS)


# ---- the public mistakes ----


def through_strings(bins: Bins) -> np.ndarray:
    """Bytes counted through decoded strings: part of a character becomes U+FFFD, three bytes."""
    table = bins.token_bytes.copy()
    for i in range(len(table)):
        if table[i]:
            table[i] = len(bins.decode([i]).encode())
    return table


def end_of_text_as_bytes(bins: Bins) -> np.ndarray:
    table = bins.token_bytes.copy()
    table[bins.manifest["tokenizer"]["end_of_text"]] = len("<|endoftext|>")
    return table


def a_part_of_a_character_as_one_letter(bins: Bins) -> np.ndarray:
    """Lengths of decoded strings in letters, not bytes."""
    table = bins.token_bytes.copy()
    table[:] = [len(bins.decode([i])) if table[i] else 0 for i in range(len(table))]
    return table


def a_leading_space_that_only_some_add(bins: Bins) -> np.ndarray:
    """As with SentencePiece: a byte more for each token that begins a word."""
    table = bins.token_bytes.copy()
    table += [bool(n) and bins.decode([i]).startswith(" ") for i, n in enumerate(table.tolist())]
    return table


def special_tokens_with_no_place(bins: Bins) -> np.ndarray:
    """A table of the merges alone: the special tokens are reserved, and nobody scores them."""
    return bins.token_bytes[:-1]


MISTAKES = [
    through_strings,
    end_of_text_as_bytes,
    a_part_of_a_character_as_one_letter,
    a_leading_space_that_only_some_add,
    special_tokens_with_no_place,
]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_table_with_a_public_mistake_is_refused(tmp_path, mistake):
    bins = bins_of(tmp_path, load_encoding("gpt2"), "append")
    table = mistake(bins)
    assert not np.array_equal(table, bins.token_bytes)
    size = bins.manifest["tokenizer"]["vocab_size"]
    own = bits_per_byte(model(size), bins, "train", **SHAPE)
    assert own == bits_per_byte(model(size), bins, "train", **SHAPE, token_bytes=bins.token_bytes)
    with pytest.raises(UserError) as error:
        bits_per_byte(model(size), bins, "train", **SHAPE, token_bytes=table)
    said = one_line(error)
    assert "take Bins.token_bytes" in said or "expected (50257,) integers" in said


def test_special_tokens_that_no_logit_scores_are_refused(tmp_path):
    bins = bins_of(tmp_path, load_encoding("gpt2"), "append")
    with pytest.raises(UserError) as error:
        bits_per_byte(model(50_256), bins, "train", **SHAPE)
    assert "logits (2, 16, 50256), expected (2, 16, 50257 or more)" in one_line(error)


def lower_case() -> str:
    content = json.loads(byte_level())
    content["normalizer"] = {"type": "Lowercase"}
    return json.dumps(content)


@pytest.mark.parametrize(
    ("write", "texts"),
    [
        (unigram, TEXTS),  # adds a leading space
        (word_piece, TEXTS),  # lower case, no spaces
        (lower_case, TEXTS[:3]),  # as many bytes, and another text
        (byte_level, ["a <|im_end|> b" * 9]),  # the text of a special token is one, of no bytes
    ],
)
def test_a_tokenizer_whose_ids_are_not_the_text_s_bytes_is_refused(tmp_path, write, texts):
    bins = bins_of(tmp_path, FileTokenizer(write().encode()), "none", texts)
    size = bins.manifest["tokenizer"]["vocab_size"]
    with pytest.raises(UserError) as error:
        bits_per_byte(model(size), bins, "train", **SHAPE)
    assert "adds, drops or changes text" in one_line(error)


# ---- text in and out of bins ----


@pytest.mark.parametrize("name", ["gpt2", "llama3", "bytes"])
def test_bins_encode_and_decode_as_their_documents_were(tmp_path, name):
    encoding = load_encoding(name)
    bins = bins_of(tmp_path, encoding, "append")
    assert bins.vocabulary is encoding
    start, end = bins.docs("train")[:2, 0].tolist()
    ids = bins.ids("train")
    assert bins.encode(TEXTS[0]) == ids[start : end - 1].tolist()
    assert bins.decode(torch.from_numpy(ids[start : end - 1].astype(np.int64))) == TEXTS[0]
    assert bins.encode("<|endoftext|>")[-1] != ids[end - 1]  # text, not the token
    table = bins.token_bytes
    assert (table.shape, table[ids[end - 1]]) == ((encoding.n_vocab,), 0)
    assert int(table[ids].sum()) == bins.manifest["splits"]["train"]["text_bytes"]


def test_bins_that_were_replaced_are_opened_again(tmp_path):
    bins = bins_of(tmp_path / "one", load_encoding("gpt2"))
    other = bins_of(tmp_path / "other", load_encoding("bytes"))
    bins.folder.rename(tmp_path / "away")
    other.folder.rename(bins.folder)
    with pytest.raises(UserError) as error:
        bins.encode("a")
    assert "has other bins than when it was opened" in one_line(error)


def test_what_is_no_id_and_a_text_that_tiktoken_cannot_split_are_refused(tmp_path):
    for name, encoding in (
        ("a", load_encoding("gpt2")),
        ("b", FileTokenizer(byte_level().encode())),
    ):
        bins = bins_of(tmp_path / name, encoding)
        for wrong in ([encoding.n_vocab], [-1], [1.5], ["a"], np.array([10**6])):
            with pytest.raises(UserError) as error:
                bins.decode(wrong)
            assert "is no id; expected whole numbers below" in one_line(error)
    bins = open_bins(tmp_path / "a" / "bins")
    with pytest.raises(ValueError, match="backtracking"):
        bins.encode(" " * 999_999 + "x")
    assert (bins.end_of_text, bins.vocab_size) == (50_256, 50_257)
    with pytest.raises(ValueError, match="read-only"):
        bins.token_bytes[0] = 1
