"""Facts about a tokenizer.json: ids are those of Hugging Face's library, and loss is counted."""

import json
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import yaml
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from slm.bins.opening import open_bins
from slm.bins.writing.from_tokens import write_bins
from slm.core.errors import UserError
from slm.core.files import read_json
from slm.tokens import agreement
from slm.tokens.agreement import hostile
from slm.tokens.bpe import write_vocabulary
from slm.tokens.from_file import FILE, FileTokenizer
from slm.tokens.making import make
from slm.tokens.token_files import make_tokens
from slm.tokens.tokenizer import choose_engine, encoder
from slm.tokens.unicode_gaps import Holding
from slm.tokens.vocabulary import describe, load_described, token_bytes
from slm.tokens.wanted import DEFAULTS, Wanted, wanted
from tests.helpers import NASTY, block, build, json_lines, one_line
from tests.pages import blocks
from tests.tokens.trained import KINDS, TEXTS, byte_level

TEXTS_ = [*TEXTS, *NASTY, "", "a <|im_end|> b</s>[SEP]", *hostile(500, 3)]


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> Path:
    """Where agreements are kept for all tests of this file."""
    return tmp_path_factory.mktemp("agreements")


@pytest.fixture(params=KINDS)
def tokenizer(request) -> FileTokenizer:
    write, end = KINDS[request.param]
    return FileTokenizer(write().encode(), end)


def reference(tokenizer: FileTokenizer, texts: list[str]) -> list[list[int]]:
    theirs = Tokenizer.from_str(tokenizer.content.decode())
    return [theirs.encode(text, add_special_tokens=False).ids for text in texts]


@pytest.mark.slow
def test_ids_are_the_reference_s_document_by_document_by_either_engine(tokenizer, known):
    expected = reference(tokenizer, TEXTS_)
    fast, why = choose_engine("gigatoken", tokenizer, known)
    assert choose_engine("tiktoken", tokenizer, known) == ("tokenizers", "")
    assert fast == ("tokenizers" if why else "gigatoken")
    assert bool(why) == (tokenizer.model != "BPE")  # gigatoken has BPE alone
    for engine in {fast, "tokenizers"}:
        ids, lengths = encoder(engine, tokenizer, known)(block(TEXTS_))
        assert (ids.dtype, lengths.dtype) == (np.uint32, np.int64)
        assert lengths.tolist() == [*map(len, expected)], engine
        assert ids.tolist() == [*chain(*expected)], engine


@pytest.mark.slow
def test_what_was_found_of_a_file_is_kept(known, monkeypatch):
    tokenizer = FileTokenizer(byte_level().encode())
    found = agreement.compared(tokenizer, known)
    monkeypatch.setattr(agreement, "_compare", lambda _: pytest.fail("compared again"))
    assert agreement.compared(FileTokenizer(byte_level().encode()), known) == found
    assert found.why == ""
    assert {*Holding(found.gaps)(block(["a", "\u088f", "\u1acf"]))} == {1, 2}


def test_an_engine_that_differs_on_text_or_on_too_much_is_not_taken(monkeypatch):
    monkeypatch.setattr(agreement, "compared_points", lambda: range(0x20, 0x3000))
    monkeypatch.setattr(agreement, "MAX_POINTS", 1000)
    tokenizer = FileTokenizer(byte_level().encode())

    def other(of: str):
        def encode(block):
            ids, lengths = tokenizer.encode_block(block)
            held = [i for i in range(block.documents) if of in block.text(i)]
            ends = np.cumsum(lengths)
            ids[ends[held] - 1] += 1
            return ids, lengths

        return (encode, tokenizer.encode_block)

    found = agreement._of_engines(other("HTTPServer"), [])
    assert "differs from tokenizers on " in found.why and "HTTPServer" in found.why
    found = agreement._of_engines(other("A"), [])
    assert "differs from tokenizers on 12,256 code points" in found.why


def test_truncation_and_padding_of_the_file_are_off():
    content = json.loads(byte_level())
    content["truncation"] = {
        "direction": "Right",
        "max_length": 3,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    content["padding"] = {
        "strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "<|endoftext|>",
    }  # fmt: skip
    tokenizer = FileTokenizer(json.dumps(content).encode())
    assert (
        tokenizer.encode_ordinary(TEXTS[0])
        == reference(FileTokenizer(byte_level().encode()), TEXTS[:1])[0]
    )


# ---- what is lost ----


def test_what_is_lost_is_counted(tokenizer):
    texts = ["Once upon a time.", "ＡＢ ① x", "naïve", "a  b", ""]
    ids, lengths = tokenizer.encode_block(block(texts))
    slowly = [tokenizer.decode(tokenizer.encode_ordinary(text)) != text for text in texts]
    assert tokenizer.lossy(block(texts), ids, lengths) == sum(slowly)
    assert (sum(slowly) == 0) == (tokenizer.model == "BPE")


def test_bytes_of_tokens_are_those_of_the_text_where_nothing_is_lost_or_added(tokenizer):
    table, text = token_bytes(tokenizer), "Once upon a time, there was a café 😊."
    counted = int(table[tokenizer.encode_ordinary(text)].sum())
    if tokenizer.model == "BPE":
        added = " " if "Prepend" in tokenizer.content.decode() else ""
        assert counted == len((added + text).encode())
    else:
        assert counted != len(text.encode())
    assert all(table[i] == 0 for i in tokenizer.special.values() if not _is_byte(tokenizer, i))


def test_bytes_of_tokens_of_other_kinds_are_those_of_the_text():
    """GPT-1's end of a word, and a space that is written by another letter."""
    ends = Tokenizer(BPE({"c": 0, "a": 1, "t</w>": 2}, [], end_of_word_suffix="</w>"))
    ends.decoder = decoders.BPEDecoder(suffix="</w>")
    wide = Tokenizer(BPE({"a": 0, "＿": 1}, []))
    wide.pre_tokenizer = pre_tokenizers.Metaspace("＿", prepend_scheme="never")
    wide.decoder = decoders.Metaspace("＿", prepend_scheme="never")
    for made, text in ((ends, "cat"), (wide, "a a")):
        tokenizer = FileTokenizer(made.to_str().encode())
        ids = tokenizer.encode_ordinary(text)
        assert tokenizer.decode(ids) == text
        assert token_bytes(tokenizer)[ids].sum() == len(text)


def _is_byte(tokenizer: FileTokenizer, i: int) -> bool:
    return tokenizer.tokenizer.id_to_token(i).startswith("<0x")


# ---- from the file to the bins ----


@pytest.mark.parametrize("policy", ["none", "append"])
def test_bins_hold_the_file_and_decode_anywhere(tokenizer, tmp_path, policy):
    raw = build(tmp_path, {"a.jsonl": json_lines(TEXTS)})
    for name in ("vocabulary", "tokens", "bins"):
        (tmp_path / name).mkdir()
    write_vocabulary(tmp_path / "vocabulary", tokenizer)
    about = read_json(tmp_path / "vocabulary" / "vocabulary.json")
    again = load_described(about, tmp_path / "vocabulary")
    assert describe(again) == about == describe(tokenizer)
    make_tokens(raw, again, tmp_path / "tokens", "tokenizers", 2)
    write_bins(tmp_path / "tokens", tmp_path / "bins", policy, tmp_path / "vocabulary")
    bins = open_bins((tmp_path / "bins").rename(tmp_path / "away"), verify=True)
    lossy = sum(
        tokenizer.decode(ids) != text
        for ids, text in zip(reference(tokenizer, TEXTS), TEXTS, strict=True)
    )
    assert bins.manifest["lossy_documents"] == {"train": lossy}
    assert bins.vocabulary.to_str() == Tokenizer.from_str(tokenizer.content.decode()).to_str()
    assert bins.encode(TEXTS[0]) == reference(tokenizer, TEXTS[:1])[0]
    start, end = bins.docs("train")[:2, 0].tolist()
    ids = bins.ids("train")[start : end - (policy == "append")]
    assert bins.decode(ids) == tokenizer.decode(bins.encode(TEXTS[0]))
    if policy == "append":
        assert bins.ids("train")[end - 1] == tokenizer.eot_token


def test_end_of_text_is_a_special_token_and_refused_where_there_is_none(tmp_path):
    content = byte_level().encode()
    for wrong in ("<|im_start|>", "the", ""):
        with pytest.raises(UserError) as error:
            FileTokenizer(content, wrong)
        assert "no special token of the file; it has <|endoftext|>, <|im_end|>" in one_line(error)
    raw = build(tmp_path, {"a.jsonl": json_lines(["a"])})
    for name in ("vocabulary", "tokens", "bins"):
        (tmp_path / name).mkdir()
    write_vocabulary(tmp_path / "vocabulary", FileTokenizer(content))
    make_tokens(raw, FileTokenizer(content), tmp_path / "tokens", "tokenizers", 1)
    with pytest.raises(UserError) as error:
        write_bins(tmp_path / "tokens", tmp_path / "bins", "append", tmp_path / "vocabulary")
    assert "bins.end_of_text is append, and the tokenizer.json names no token" in one_line(error)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no tokenizer.json (EOF"),
        (b"\xff", "no tokenizer.json ('utf-8'"),
        (b"{}", "`save_pretrained` of transformers, writes one"),
        (b'{"model": 3}', "no tokenizer.json ("),
        (Tokenizer(BPE()).to_str().encode(), "has no tokens"),
        (byte_level().replace('"dropout":null', '"dropout":0.1').encode(), "dropout"),
    ],
)
def test_what_is_no_tokenizer_is_refused(content, said):
    with pytest.raises(UserError) as error:
        FileTokenizer(content)
    assert said in one_line(error)


def test_a_file_that_is_another_than_pinned_or_missing_is_refused(tmp_path):
    path = tmp_path / FILE
    path.write_text(byte_level())
    own = FileTokenizer(byte_level().encode())
    asked = Wanted("file", file=str(path), sha256=own.sha256, end_of_text="<|im_end|>")
    assert make(asked, Path(), Path()).name == own.name
    for wrong, said in (
        (asked._replace(sha256="0" * 64), "tokenizer.sha256 expects 000"),
        (asked._replace(sha256=None), f"write `sha256: {own.sha256}` there"),
        (asked._replace(file=str(tmp_path / "none.json")), "cannot be read (No such file"),
        (asked._replace(file=str(tmp_path)), "cannot be read (Is a directory"),
        (asked._replace(file="a\0b"), "cannot be read (embedded null byte"),
        (asked._replace(end_of_text="no"), f"{path}: tokenizer.end_of_text is 'no'"),
    ):
        with pytest.raises(UserError) as error:
            make(wrong, Path(), Path())
        assert said in one_line(error)


def test_a_corrupt_file_in_the_bins_is_refused(tmp_path):
    own = FileTokenizer(byte_level().encode(), "<|im_end|>")
    write_vocabulary(tmp_path, own)
    content = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(content.replace(b"<|im_end|>", b"<|im_eNd|>"))
    with pytest.raises(UserError) as error:
        load_described(describe(own), tmp_path)
    assert f"{FILE} is corrupt" in one_line(error)


# ---- params.yaml ----

COMMIT = "0" * 40


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "expected one of them: a tokenizer.json"),
        ({"file": "a.json", "path": "a/b"}, "expected one of them: a tokenizer.json"),
        ({"path": "a/b"}, "revision is None, expected the full commit of a/b"),
        ({"path": "a/b", "revision": "main"}, "revision is 'main', expected the full commit"),
        ({"file": "a.json", "revision": COMMIT}, "revision is of path"),
        ({"file": 3}, "file is 3, expected text (in quotes) or null"),
        ({"file": "a.json", "sha256": "abc"}, "sha256 is 'abc', expected 64 hex digits"),
        ({"file": "a.json", "vocab_size": 300}, "vocab_size is 300, expected null"),
        ({"encoding": "gpt2", "file": "a.json"}, "file is 'a.json', expected null"),
        ({"encoding": "gpt2", "pattern": "o200k"}, "pattern is 'o200k', expected gpt2"),
        ({"encoding": "gpt2", "special_tokens": ["a"]}, "special_tokens is ['a'], expected []"),
        ({"encoding": "bytes", "end_of_text": "a"}, "end_of_text is 'a', expected null"),
        ({"encoding": "bpe", "vocab_size": 300, "pattern": "qwen"}, "expected one of gpt2, cl100k"),
        ({"encoding": "bpe", "vocab_size": 258, "special_tokens": ["a", "b"]}, "expected 259"),
        ({"encoding": "bpe", "vocab_size": 300, "special_tokens": ["a", "a"]}, "different texts"),
        ({"encoding": "bpe", "vocab_size": 300, "special_tokens": ["<|endoftext|>"]}, "different"),
        ({"encoding": "bpe", "vocab_size": 300, "special_tokens": "ab"}, "a list of different"),
        ({"encoding": "bpe", "vocab_size": 300, "special_tokens": ["\ud800"]}, "different texts"),
        ({"encoding": "gpt2", "special_tokens": 0}, "special_tokens is 0, expected []"),
        ({"encoding": "file", "sha256": 11}, "sha256 is 11, expected text (in quotes) or null"),
        ({"encoding": 3}, "encoding is 3, expected text"),
        ({"encoding": "gpt9"}, "encoding is 'gpt9', expected bpe, file or one of bytes"),
    ],
)  # fmt: skip
def test_keys_that_do_not_go_together_are_refused(changes, said):
    with pytest.raises(UserError) as error:
        wanted({"tokenizer": {**DEFAULTS, "encoding": "file", **changes}})
    assert said in one_line(error)


def test_a_key_that_is_not_there_is_named_with_what_to_write():
    section = {key: value for key, value in DEFAULTS.items() if key != "pattern"}
    with pytest.raises(UserError) as error:
        wanted({"tokenizer": {**section, "encoding": "gpt2"}})
    assert "tokenizer has no pattern; write `pattern: gpt2` there" in one_line(error)


@pytest.mark.parametrize("shown", blocks("yaml", "docs/tokenizers.md"))
def test_what_the_page_shows_is_what_params_yaml_takes(shown):
    keys = yaml.safe_load(shown.replace("0f3c…", "0" * 64))
    assert wanted({"tokenizer": {**DEFAULTS, **keys}}).encoding == keys["encoding"]
