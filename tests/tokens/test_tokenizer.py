"""Facts about ids: both engines give those of tiktoken's encode_ordinary, or say what is amiss."""

import importlib.util
import json
import re
import subprocess
import sys
from base64 import b64encode
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import requests
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from slm.core.errors import UserError
from slm.text.blocks import Block
from slm.tokens import fast, reference, tokenizer
from slm.tokens.published import load_encoding
from slm.tokens.reference import Unencodable
from slm.tokens.token_files import make_tokens
from slm.tokens.tokenizer import choose_engine, encoder
from slm.tokens.vocabulary import describe, load_described
from tests.helpers import NASTY, block, build, json_lines, one_line

STORIES = Path(__file__).parents[2] / "../shared/tinystories"
GPT2 = load_encoding("gpt2")
ENGINES = ("gigatoken", "tiktoken") if importlib.util.find_spec("gigatoken") else ("tiktoken",)
by_gigatoken = pytest.mark.skipif(len(ENGINES) < 2, reason="gigatoken is not installed here")
engines = pytest.mark.parametrize("engine", ENGINES)


@cache
def encode(engine: str):
    return encoder(engine, GPT2)


def assert_as_the_reference(texts: list[str]) -> None:
    expected = [GPT2.encode_ordinary(text) for text in texts]
    for engine in ENGINES:
        ids, lengths = encode(engine)(block(texts))
        assert (ids.dtype, lengths.dtype) == (np.uint32, np.int64)
        assert lengths.tolist() == list(map(len, expected)), engine
        assert ids.tolist() == [*chain(*expected)], engine


# ---- both engines, and the reference ----

# What the pattern treats in ways of its own, and code points that only one engine knows.
PIECES = [
    *["'s", "'ll", "’s", "'S", " ", "  ", "\n", "\r\n", "\t", "\u3000", "\xa0", "\u2028", "\x1c"],
    *["a", "B", " the", "1", "٣", "²", "!", "...", "é", "e\u0301", "中", "😊", "\0", "\ufeff"],
    *["\u088f", "\ua7ce", "\U00010ec5", "\U000323b0", "\u0378", "\U0010ffff"],
    *["<|endoftext|>", "<|", "|>", "\u200b", "\u180e"],
]


@given(st.lists(st.text(max_size=40) | st.lists(st.sampled_from(PIECES)).map("".join), max_size=8))
@settings(max_examples=250, deadline=None)
def test_any_text_gives_the_ids_of_the_reference(texts):
    if texts:
        assert_as_the_reference(texts)


def test_nasty_documents_and_empty_ones_give_the_ids_of_the_reference():
    assert_as_the_reference(NASTY)
    for texts in ([""], ["", ""], ["", "a"], ["a", ""], ["", "\u088f's", ""], ["\u088f's"]):
        assert_as_the_reference(texts)


@engines
def test_a_block_may_be_a_part_of_a_larger_buffer(engine):
    whole = block(["skip", "one", "", "two", "rest"])
    part = Block(7, whole.offsets[1:5] - 4, whole.data[4:10])
    ids, lengths = encode(engine)(part)
    assert (ids.tolist(), lengths.tolist()) == ([505, 11545], [1, 0, 1])


@engines
def test_a_hundred_thousand_empty_documents_have_no_ids(engine):
    ids, lengths = encode(engine)(block([""] * 100_000))
    assert (len(ids), lengths.tolist()) == (0, [0] * 100_000)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_real_stories_give_the_ids_of_the_reference(split):
    path = STORIES / f"{split}.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is not there: real stories are not part of the repository")
    lines = path.read_bytes().split(b"\n")
    assert_as_the_reference([json.loads(line)["text"] for line in lines if line])


@by_gigatoken
def test_a_document_of_50_megabytes_gives_its_ids():
    unit = "\n\nOnce upon a time, there was a small dog who didn't like 3 cats."
    ids = GPT2.encode_ordinary(unit)  # pieces never cross ".\n", so a repeated unit repeats its ids
    assert GPT2.encode_ordinary(unit * 3) == ids * 3
    times = 50_000_000 // len(unit)
    actual, lengths = fast.gigatoken(GPT2)(block([unit * times]))
    assert lengths.tolist() == [len(ids) * times]
    assert (actual.reshape(times, -1) == np.array(ids)).all()


@engines
def test_a_long_word_gives_the_ids_of_the_reference(engine):
    letters = np.random.default_rng(1).integers(97, 123, 300_000, dtype=np.uint8).tobytes()
    actual, _ = encode(engine)(block([letters]))
    assert actual.tolist() == GPT2.encode_ordinary(letters.decode())


@by_gigatoken
def test_engines_give_the_same_files(tmp_path):
    raw = build(tmp_path, {"a.jsonl": json_lines(NASTY * 3), "b.txt": b"\xe0\xa2\x8f's"})
    made = {}
    for engine in ENGINES:
        for workers, block_bytes in ((1, 1), (3, 100), (2, 10**6)):
            out = tmp_path / f"{engine}{block_bytes}"
            out.mkdir()
            make_tokens(raw, GPT2, out, engine, workers, block_bytes)
            made[out] = [(path.name, path.read_bytes()) for path in sorted(out.iterdir())]
    assert len(made) == 6
    assert all(files == next(iter(made.values())) for files in made.values())


# ---- where the engines part ----


@cache
def unicode() -> str:
    return "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))


@engines
@pytest.mark.parametrize("wrong", ["id", "length", "missing"])
def test_a_wrong_engine_is_caught(monkeypatch, engine, wrong):
    texts = ["one two", "three four", "five"]
    honest = encoder(engine, GPT2)

    def spoilt(block: Block):
        ids, lengths = (array.copy() for array in honest(block))
        if wrong == "id":
            ids[-1] += 1
        elif wrong == "length":
            lengths[:2] += (1, -1)
        else:
            ids, lengths[-1] = ids[:-1], lengths[-1] - 1
        return ids, lengths

    monkeypatch.setattr(tokenizer, "_encode", lambda *_: spoilt)
    with pytest.raises(UserError) as error:
        encoder(engine, GPT2)(block(texts))
    number = 0 if wrong == "length" else 2
    assert f"document {number} does not have the reference's ids" in one_line(error)


def test_without_gigatoken_the_engine_is_tiktoken_and_says_why(monkeypatch):
    assert choose_engine("tiktoken", GPT2) == ("tiktoken", "")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert choose_engine("gigatoken", GPT2) == ("tiktoken", "gigatoken is not installed here")


def test_another_pattern_goes_to_tiktoken_and_says_why():
    ranks = GPT2._mergeable_ranks
    other = tiktoken.Encoding("other", pat_str=r"\S|\s", mergeable_ranks=ranks, special_tokens={})
    engine, why = choose_engine("gigatoken", other)
    assert engine == "tiktoken"
    assert "other" in why or why == "gigatoken is not installed here"


# ---- whitespace ----

SPACES = 999_999


@engines
@pytest.mark.parametrize("space", [" ", " \t\r\n\v\f  "])
def test_as_much_whitespace_as_tiktoken_can_split_is_encoded(engine, space):
    for text in ((space * SPACES)[: SPACES - 1] + "x", (space * (SPACES + 2))[: SPACES + 2]):
        ids, _ = encode(engine)(block(["", text]))
        assert np.array_equal(ids, reference.reference_ids(GPT2, block([text]), 0))


@engines
@pytest.mark.parametrize("text", [" " * SPACES + "x", "a" * 700_000 + "\n \u3000" * 333_333 + "."])
def test_one_more_is_refused_with_file_and_row(tmp_path, engine, text):
    content = json_lines(["well", text, text])
    raw = build(tmp_path, {"a.txt": b"", "b.jsonl": content})
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError) as error:
        make_tokens(raw, GPT2, tmp_path / "out", engine, 2)
    assert "row 2 of b.jsonl holds a run of 999,999 or more whitespace" in one_line(error)


def test_the_limit_is_where_tiktoken_gives_up():
    code = (
        "from slm.tokens.published import load_encoding\n"
        "try: load_encoding('gpt2').encode_ordinary(' ' * 999_999 + 'x')\n"
        "except BaseException as error: print(type(error).__name__)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout == "PanicException\n"  # if it no longer does, `Unencodable` can go


@given(st.text(st.sampled_from(" \t\x85\u2028\x1c\u200bab"), max_size=60), st.integers(1, 12))
@settings(max_examples=500, deadline=None)
def test_a_long_run_is_found_wherever_it_lies_and_goes_to_the_reference(text, limit):
    slow = re.search(rf"[{reference.SPACE}]{{{limit}}}", text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "SPACES", limit)
        assert reference.with_long_space(block(["", text, text])) == [1, 2] * bool(slow)


def test_another_pattern_s_panic_is_refused_too(monkeypatch):
    pattern = GPT2._pat_str.replace(r"|\s++$", "")  # gives up on whitespace at the end as well
    other = tiktoken.Encoding(
        "other", pat_str=pattern, special_tokens={}, mergeable_ranks=GPT2._mergeable_ranks
    )
    with pytest.raises(Unencodable) as error:
        encoder("tiktoken", other)(block(["a", " " * 1_000_001]))
    assert error.value.document == 1


def test_whitespace_is_what_tiktoken_holds_for_whitespace():
    # A pattern that takes whitespace alone; what it does not match is left out.
    letters = {bytes([i]): i for i in range(256)}
    alone = tiktoken.Encoding("a", pat_str=r"\s", special_tokens={}, mergeable_ranks=letters)
    assert alone.decode(alone.encode_ordinary(unicode())) == "".join(sorted(reference.SPACE))


# ---- memory ----

GROWTH = """
import numpy as np, psutil
from slm.tokens import fast
from slm.text.blocks import Block
from slm.tokens.published import load_encoding
fast._CACHE_BYTES, born = 60 * 2**20, 0
renew = fast._from_ranks
def counted(*ranks):
    global born
    born += 1
    return renew(*ranks)
fast._from_ranks = counted
def words(seed):
    text = np.random.default_rng(seed).integers(97, 123, (250_000, 10), dtype=np.uint8)
    text[:, 0] = 32
    return Block(0, np.array([0, text.size]), text.reshape(-1))
engine, process = fast.gigatoken(load_encoding("gpt2")), psutil.Process()
first, _ = engine(words(0))
before = most = process.memory_info().rss
for seed in range(1, 12):
    engine(words(seed))
    most = max(most, process.memory_info().rss)
assert np.array_equal(first, engine(words(0))[0])
print(born, (most - before) >> 20)
"""


@pytest.mark.slow
@by_gigatoken
def test_three_million_words_do_not_stay_in_memory():
    run = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True)
    assert not run.stderr
    born, growth = map(int, run.stdout.split())
    assert born >= 2  # the cache was renewed
    assert growth < 200  # MiB; without renewal about 250 and more for each further word


# ---- the vocabulary ----


def test_gpt2_is_described_by_the_hash_that_openai_publishes():
    actual = describe(GPT2)
    # of r50k_base.tiktoken, as tiktoken itself checks it: the same ranks in one file
    published = "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"
    assert actual["ranks_sha256"] == published
    assert (actual["vocab_size"], actual["end_of_text"]) == (50257, 50256)
    assert load_described(actual, Path()) is GPT2


@pytest.mark.parametrize("key", ["pattern", "vocab_size", "ranks_sha256", "end_of_text"])
def test_another_table_is_refused_with_both_values(key):
    with pytest.raises(UserError) as error:
        load_described({**describe(GPT2), key: "other"}, Path())
    message = one_line(error)
    assert f"gpt2 has {key} {describe(GPT2)[key]!r} here, expected 'other'" in message


@pytest.mark.parametrize("name", ["gpt5", "", None, "GPT2", ["gpt2"]])
def test_an_unknown_encoding_is_refused_with_those_known(name):
    with pytest.raises(UserError) as error:
        load_encoding(name)
    assert f"{name!r}, expected bpe, file or one of bytes, cl100k_base, gpt2" in one_line(error)


URL = "https://openaipublic.blob.core.windows.net/encodings/p50k_base.tiktoken"


@pytest.fixture
def cut_off(monkeypatch, tmp_path):
    """No network, no vocabulary kept from before, and an empty folder where tiktoken looks."""

    def get(url: str, **_):
        request = requests.Request("GET", url).prepare()
        raise requests.ConnectionError("no route\nto host", request=request)

    monkeypatch.setattr(requests, "get", get)
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "kept"))


def test_an_encoding_that_cannot_be_fetched_says_what_to_put_where(cut_off, tmp_path, monkeypatch):
    with pytest.raises(UserError) as error:
        load_encoding("p50k_edit")
    message = one_line(error)
    assert f"needs p50k_base.tiktoken, which could not be fetched from {URL}" in message
    path = Path(message.split(" put it at ")[1])
    assert path.parent == tmp_path / "kept"
    path.parent.mkdir()
    path.write_bytes(b"".join(b"%s %d\n" % (b64encode(bytes([i])), i) for i in range(256)))
    monkeypatch.setattr(tiktoken.load, "check_hash", lambda *_: True)
    assert load_encoding("p50k_edit").encode_ordinary("a") == [97]  # it looks there


def test_a_kept_file_that_is_not_the_right_one_is_not_used(cut_off, tmp_path):
    with pytest.raises(UserError) as error:
        load_encoding("p50k_edit")
    path = Path(str(error.value).split(" put it at ")[1])
    path.parent.mkdir()
    path.write_bytes(b"YQ== 0\n")
    with pytest.raises(UserError) as error:
        load_encoding("p50k_edit")
    assert str(path) in one_line(error)


def test_a_download_that_is_not_the_right_file_is_refused(cut_off, monkeypatch):
    answer = requests.Response()
    answer.status_code, answer._content = 200, b"a login page"
    monkeypatch.setattr(requests, "get", lambda url: answer)
    with pytest.raises(UserError) as error:
        load_encoding("p50k_edit")
    assert "Hash mismatch" in one_line(error)
