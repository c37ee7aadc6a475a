"""Facts about engines and published encodings: ids are tiktoken's, for each pattern."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
import tiktoken_ext.openai_public as openai

from slm.core.errors import UserError
from slm.tokens import agreement, fast, published
from slm.tokens.bpe import tokenizer_json
from slm.tokens.patterns import PATTERNS, named
from slm.tokens.published import SET_UP, load_encoding
from slm.tokens.reference import reference
from slm.tokens.tokenizer import choose_engine, encoder
from slm.tokens.unicode_gaps import GAPS, Holding, spans
from slm.tokens.vocabulary import describe, load_described, rank_file
from tests.helpers import NASTY, block, one_line
from tests.tokens.hostile import differing
from tests.workspace import ROOT, environment

ENGINES = ("gigatoken", "tiktoken") if importlib.util.find_spec("gigatoken") else ("tiktoken",)
by_gigatoken = pytest.mark.skipif(len(ENGINES) < 2, reason="gigatoken is not installed here")
STORIES = Path(__file__).parents[2] / "../shared/tinystories"


# ---- both engines, and the reference ----


@pytest.mark.slow
@by_gigatoken
@pytest.mark.parametrize("name", ["gpt2", "o200k_base", "llama3", "qwen"])
def test_the_engines_differ_on_newer_code_points_alone(name):
    """Finds the sets again: an upgrade of either engine that moves one fails here."""
    encoding = load_encoding(name)
    engine = fast.gigatoken(encoding)._make()  # bare, with nothing routed
    engines = (lambda b: fast.encode_block(engine, b), reference(encoding))
    found = agreement.points_apart(engines, agreement.all_points())
    gaps = GAPS[named(encoding._pat_str).name]
    assert spans(found) == spans(c for first, last in gaps for c in range(first, last + 1))


@by_gigatoken
@pytest.mark.parametrize("name", SET_UP)
def test_a_document_with_a_newer_code_point_goes_to_the_reference(name):
    encoding = load_encoding(name)
    points = [chr(c) for a, b in GAPS[named(encoding._pat_str).name] for c in range(a, b + 1)]
    texts = [f"{point}'s" for point in points]
    ids, lengths = fast.gigatoken(encoding)(block(texts))
    assert ids.tolist() == [*chain(*map(encoding.encode_ordinary, texts))]
    assert lengths.sum() == len(ids)
    assert Holding(GAPS["o200k"])(block(["", "é", "中", "😊", "\u1acf", "x\u0c5c"])) == [4, 5]


@pytest.mark.parametrize("name", SET_UP)
def test_hostile_strings_have_the_ids_of_tiktoken(name):
    """A million of them for each: python -m tests.tokens.hostile 1000000"""
    assert differing(load_encoding(name), 4_000, ENGINES) == []


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", SET_UP)
def test_nasty_documents_and_real_stories_have_the_ids_of_tiktoken(name, engine):
    encoding = load_encoding(name)
    lines = (STORIES / "validation.jsonl").read_bytes().splitlines() if STORIES.exists() else []
    texts = [*NASTY, "", *(json.loads(line)["text"] for line in lines)]
    ids, lengths = encoder(engine, encoding)(block(texts))
    expected = [encoding.encode_ordinary(text) for text in texts]
    assert lengths.tolist() == list(map(len, expected))
    assert ids.tolist() == [*chain(*expected)]


@by_gigatoken
def test_a_token_of_llama_3_that_no_merges_of_its_bytes_make_is_made_in_a_longer_word():
    encoding = load_encoding("llama3")
    ids = encoding.encode_ordinary(" haftaav")
    assert [encoding.decode([i]) for i in ids] == [" hafta", "av"]
    assert fast.gigatoken(encoding)(block([" haftaav"]))[0].tolist() == ids
    # as many merges as Meta's tokenizer.json has
    assert len(json.loads(tokenizer_json(encoding, True))["model"]["merges"]) == 280_147


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["cl100k_base", "o200k_base"])
def test_long_runs_of_one_kind_have_the_ids_of_tiktoken(name, engine):
    encoding = load_encoding(name)
    texts = ["A" * 300_000, "a" * 999, "\n" * 5_000 + "x", "e" + "\u0301" * 2_000, "1" * 100_000]
    ids, _ = encoder(engine, encoding)(block(texts))
    assert ids.tolist() == [*chain(*map(encoding.encode_ordinary, texts))]


# ---- what is published ----


@pytest.mark.parametrize(
    ("name", "size", "end_of_text", "sha256"),
    [
        ("cl100k_base", 100_277, 100_257, "223921b76ee99bde995b7ff738513eef"),
        ("o200k_base", 200_019, 199_999, "446a9538cb6c348e3516120d7c08b09f"),
        ("llama3", 128_256, 128_001, "82e9d31979e92ab929cd544440f129d9"),
        ("qwen", 151_669, 151_643, "b2b1b8dfb5cc5f024bafc373121c6aba"),
    ],
)  # fmt: skip
def test_ranks_have_the_published_hash_and_end_of_text_its_published_id(
    name, size, end_of_text, sha256
):
    about = describe(load_encoding(name))
    assert about["ranks_sha256"].startswith(sha256)
    assert about["ranks_sha256"] == hashlib.sha256(rank_file(load_encoding(name))).hexdigest()
    assert (about["vocab_size"], about["end_of_text"]) == (size, end_of_text)
    assert load_described(about, Path()) is load_encoding(name)


def test_the_license_of_llama_3_s_ranks_is_said_and_no_other():
    assert "Meta" in describe(load_encoding("llama3"))["license"]
    assert [name for name in SET_UP if "license" in describe(load_encoding(name))] == ["llama3"]


def test_special_tokens_have_their_published_ids():
    known = {
        "llama3": {"<|begin_of_text|>": 128_000, "<|eot_id|>": 128_009},
        "qwen": {"<|im_start|>": 151_644, "<|im_end|>": 151_645, "</think>": 151_668},
    }
    known["llama3"] |= {"<|reserved_special_token_0|>": 128_002, "<|end_header_id|>": 128_007}
    known["llama3"] |= {"<|reserved_special_token_250|>": 128_255}
    for name, tokens in known.items():
        encoding = load_encoding(name)
        assert {token: encoding.encode_single_token(token) for token in tokens} == tokens


def test_patterns_are_those_that_tiktoken_publishes():
    assert PATTERNS["gpt2"].regex == openai.r50k_pat_str
    for name in ("cl100k", "o200k"):
        assert PATTERNS[name].regex == load_encoding(f"{name}_base")._pat_str


def test_published_encodings_need_no_network_where_the_users_own_cache_is_empty(tmp_path):
    code = (
        "from slm.tokens.published import SET_UP, load_encoding\n"
        "print(*(load_encoding(name).n_vocab for name in SET_UP))"
    )
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(ROOT) | nowhere | {"TIKTOKEN_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "50257 100277 200019 128256 151669\n", done.stderr
    assert [*tmp_path.iterdir()] == []


def test_ranks_that_are_missing_or_corrupt_are_refused_with_the_cure(tmp_path, monkeypatch):
    shared = published._share()
    monkeypatch.setattr(published, "_share", lambda: tmp_path)
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR")
    published._of_set_up.cache_clear()
    for content, said in ((None, "which is missing"), (b"YQ== 0\n", "is corrupt")):
        if content:
            (tmp_path / "qwen.tiktoken").write_bytes(content)
        with pytest.raises(UserError) as error:
            load_encoding("qwen")
        assert said in one_line(error) and "`rm -rf .venv && make setup`" in one_line(error)
    # where set-up was not run, the folder that tiktoken's variable names has them
    published._of_set_up.cache_clear()
    (tmp_path / "qwen.tiktoken").unlink()
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(shared))
    assert load_encoding("qwen").n_vocab == 151_669
    published._of_set_up.cache_clear()


# ---- bytes ----


def test_the_ids_of_bytes_are_the_text():
    encoding = load_encoding("bytes")
    assert choose_engine("gigatoken", encoding) == ("bytes", "")
    texts = [*NASTY, "", "<|endoftext|>"]
    for engine in ("bytes", "tiktoken"):
        ids, lengths = encoder(engine, encoding)(block(texts))
        assert bytes(ids.tolist()) == "".join(texts).encode()
        assert lengths.tolist() == [len(text.encode()) for text in texts]
    assert describe(encoding)["end_of_text"] == 256
    assert describe(encoding)["vocab_size"] == 257


def test_every_python_of_this_environment_finds_the_ranks():
    assert os.environ.get("TIKTOKEN_CACHE_DIR")  # tiktoken_cache.pth, at the start of each Python
    assert sorted(path.name for path in published._share().iterdir() if "." in path.name) == [
        "llama3.tiktoken",
        "qwen.tiktoken",
    ]
