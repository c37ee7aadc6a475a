"""Facts about trained vocabularies: the merges, the largest size, the files, three libraries."""

import hashlib
import importlib.util
import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import chain, pairwise
from pathlib import Path

import pytest
import regex
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slm.core.errors import UserError
from slm.core.files import to_json
from slm.text.stories import stories
from slm.tokens import bpe, fast, from_file, patterns, tokenizer, vocabulary
from slm.tokens.making import make
from slm.tokens.training import merges, pairs, words
from slm.tokens.unicode_gaps import GAPS, Holding
from slm.tokens.wanted import DEFAULTS, Wanted, wanted
from tests.helpers import NASTY, block, build, json_lines, one_line

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gigatoken") is None, reason="gigatoken is not installed here"
)
FOREIGN = ["Жили-были дед да баба.", "昔々あるところに", "😊😊 naïve café", "a\u0301a\u0301"]
TEXTS = [*stories(1337, "train", 400), *NASTY, *FOREIGN]
SIZE = 1500


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """raw/ with 400 stories, and text that is none."""
    return build(tmp_path_factory.mktemp("bpe"), {"a.jsonl": json_lines(TEXTS)})


def trained(raw: Path, size: int, pattern: str = "gpt2", special: tuple = ()) -> list[bpe.Merge]:
    return merges.train(Wanted("bpe", size, pattern, special), raw)


@pytest.fixture(scope="module")
def learnt(raw: Path) -> list[bpe.Merge]:
    return trained(raw, SIZE)


@pytest.fixture(scope="module")
def folder(learnt: list[bpe.Merge], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the two files of a vocabulary."""
    folder = tmp_path_factory.mktemp("vocabulary")
    bpe.write_vocabulary(folder, bpe.encoding_of(learnt))
    return folder


# ---- the merges ----


def letter_order(token: bytes) -> list[int]:
    """Hugging Face numbers the bytes by their letters, so ties between single bytes follow them."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    letters = iter(range(0x100, 0x200))
    order = [byte if byte in visible else next(letters) for byte in range(256)]
    return [order[byte] for byte in token]


def slowly_trained(texts: list[str], number: int, pattern: str = "gpt2") -> list[bpe.Merge]:
    """The first merges, by counting every pair of every word again before each."""
    pattern = patterns.PATTERNS[pattern].regex
    counted = Counter(word for text in texts for word in regex.findall(pattern, text))
    words = {tuple(bytes([b]) for b in word.encode()): n for word, n in counted.items()}
    order = {byte: rank for rank, byte in enumerate(sorted(vocabulary.BYTES, key=letter_order))}
    actual = []
    while len(actual) < number:
        pairs = Counter()
        for word, times in words.items():
            for pair in pairwise(word):
                pairs[pair] += times
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], order[pair[0]], order[pair[1]]))
        actual.append(best)
        order[b"".join(best)] = len(order)
        words = {merged(word, best): times for word, times in words.items()}
    return actual


def merged(word: tuple[bytes, ...], pair: bpe.Merge) -> tuple[bytes, ...]:
    out, position = [], 0
    while position < len(word):
        whole = word[position : position + 2] == pair
        out.append(b"".join(pair) if whole else word[position])
        position += 1 + whole
    return tuple(out)


@pytest.mark.parametrize("pattern", patterns.TRAINABLE)
def test_the_merges_are_those_of_the_obvious_trainer(tmp_path, pattern):
    texts = [*TEXTS[:40], *NASTY, "HTTPServer's don'T 1234567 in 2024.\n\n x", "x\n y", "a b"]
    raw = build(tmp_path, {"a.jsonl": json_lines(texts)})
    assert trained(raw, 257 + 400, pattern) == slowly_trained(texts, 400, pattern)


@pytest.mark.parametrize("pattern", patterns.TRAINABLE)
@given(text=st.text("abAB1 '\n\r\t!sté\u0301中\xa0", max_size=80))
@settings(max_examples=100, deadline=None)
def test_words_are_those_of_the_pattern(pattern, text):
    expected = Counter(w.encode() for w in regex.findall(patterns.PATTERNS[pattern].regex, text))
    assert words.words_of(block([text, text]), pattern) == {w: 2 * n for w, n in expected.items()}


PRINTED = """
import sys
from hashlib import sha256
from pathlib import Path
from slm.tokens import bpe
from slm.tokens.making import make
from slm.tokens.training import merges
from slm.tokens.vocabulary import rank_file
from slm.tokens.wanted import Wanted
for raw in sys.argv[1:]:
    learnt = merges.train(Wanted('bpe', 1500), Path(raw))
    encoding = bpe.encoding_of(learnt)
    files = rank_file(encoding), bpe.tokenizer_json(encoding)
    print(*(sha256(file).hexdigest() for file in files))
"""


@pytest.mark.slow
def test_the_files_are_the_same_bytes_for_any_threads_and_any_order_of_rows(tmp_path, raw, folder):
    other = [*TEXTS]
    random.Random(1).shuffle(other)
    shuffled = build(
        tmp_path, {"b.jsonl": json_lines(other[:99]), "c.jsonl": json_lines(other[99:])}
    )
    files = [(folder / name).read_bytes() for name in (vocabulary.RANKS, from_file.FILE)]
    expected = " ".join(hashlib.sha256(file).hexdigest() for file in files)
    for threads in ("1", "5"):
        env = {**os.environ, "RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
        command = [sys.executable, "-c", PRINTED, str(raw), str(shuffled)]
        run = subprocess.run(command, env=env, capture_output=True, text=True)
        assert run.stdout.splitlines() == [expected, expected], run.stderr
        assert not run.stderr  # gigatoken is a talker


def test_training_leaves_nothing_beside_raw_and_says_nothing(raw, capfd):
    before = sorted(raw.parent.iterdir())
    trained(raw, 300)
    assert sorted(raw.parent.iterdir()) == before
    assert capfd.readouterr() == ("", "")
    print("heard again")
    assert capfd.readouterr().out == "heard again\n"


# ---- how many ids ----


def largest(raw: Path, asked: int = 10**6, pattern: str = "gpt2") -> int:
    """The size that the refusal of a larger one names."""
    with pytest.raises(UserError) as error:
        trained(raw, asked, pattern)
    actual = re.fullmatch(
        rf"tokenizer.vocab_size is {asked}, and this corpus yields at most ([\d,]+); "
        "set it to that or less",
        one_line(error),
    )
    return int(actual[1].replace(",", ""))


@pytest.mark.parametrize("asked", [10**6, 2**32 + 1, 2**63 + 300])
def test_a_corpus_too_small_is_refused_with_the_largest_size_that_works(raw, asked):
    most = largest(raw, asked)
    assert len(trained(raw, most)) == most - 257
    assert largest(raw, most + 1) == most


def test_every_token_of_the_largest_vocabulary_occurs_or_is_a_part_of_one_that_does(raw):
    learnt = trained(raw, largest(raw))
    engine = fast.gigatoken(bpe.encoding_of(learnt))
    used = set(engine(block(TEXTS))[0].tolist())
    ranks = {token: rank for rank, token in enumerate(map(b"".join, learnt), 256)}
    for rank, merge in reversed([*enumerate(learnt, 256)]):
        assert rank in used
        used.update(ranks.get(part, 0) for part in merge)


def test_an_empty_corpus_yields_the_bytes_and_end_of_text(tmp_path):
    raw = build(tmp_path, {"a.jsonl": json_lines(["", "a"])})
    assert trained(raw, 257) == []
    assert largest(raw) == 257


@pytest.mark.parametrize("size", [256, 0, -1])
def test_fewer_ids_than_the_bytes_and_end_of_text_are_refused(size):
    params = {"tokenizer": {**DEFAULTS, "encoding": "bpe", "vocab_size": size}}
    with pytest.raises(UserError) as error:
        wanted(params)
    expected = "257 or more" if size > 0 else "a whole number of ids"
    assert f"vocab_size is {size}, expected {expected}" in one_line(error)


@pytest.mark.parametrize("depth", [1, 4, pairs.DEPTH])
@given(
    texts=st.lists(st.text("aab \n", max_size=99), max_size=4).map(lambda texts: [*texts, "a" * 83])
)
@settings(max_examples=25, deadline=None)
def test_runs_are_merged_as_the_obvious_trainer_does_and_no_token_comes_twice(
    tmp_path_factory, depth, texts
):
    """In gigatoken's trainer the counts of runs drift, and a token may come twice."""
    raw = build(tmp_path_factory.mktemp("runs"), {"a.jsonl": json_lines(texts)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "DEPTH", depth)
        learnt = trained(raw, largest(raw))
    assert learnt == slowly_trained(texts, 10**6)
    assert len({*map(b"".join, learnt)}) == len(learnt)


def test_code_points_that_only_gigatoken_knows_may_be_learnt_from(tmp_path):
    """They are split its way in training, and tiktoken's way where the ids are made."""
    texts = [*TEXTS[:20], *["\u088f's \u0c5c1"] * 99]
    raw = build(tmp_path, {"a.jsonl": json_lines(texts)})
    most = largest(raw)
    encoding = bpe.encoding_of(trained(raw, most))
    ids, _ = fast.gigatoken(encoding)(block(texts))
    assert ids.tolist() == [*chain(*map(encoding.encode_ordinary, texts))]
    assert max(ids) == most - 2


def test_without_gigatoken_training_is_refused(raw, monkeypatch):
    monkeypatch.setattr(merges.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError) as error:
        trained(raw, SIZE)
    assert "gigatoken, which is not installed here" in one_line(error)


# ---- the files ----


def test_the_merges_come_back_from_the_ranks(folder, learnt):
    assert bpe.merges_of(vocabulary.load_trained(folder)) == learnt


@given(st.lists(st.text("abAB é\n", max_size=12), min_size=1, max_size=12), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_the_merges_of_any_text_come_back_from_the_ranks(texts, number):
    learnt, known = [], set(vocabulary.BYTES)
    for left, right in slowly_trained(texts, number):
        if left + right in known:  # where training ends
            break
        known.add(left + right)
        learnt.append((left, right))
    assert bpe.merges_of(bpe.encoding_of(learnt)) == learnt


def test_end_of_text_is_the_last_id_and_the_bytes_are_the_first(folder):
    encoding = vocabulary.load_trained(folder)
    assert (encoding.n_vocab, encoding.eot_token) == (SIZE, SIZE - 1)
    assert [encoding.decode_single_token_bytes(i) for i in range(256)] == [*vocabulary.BYTES]
    assert encoding.encode_ordinary("<|endoftext|>")[-1] < SIZE - 1
    content = (folder / vocabulary.RANKS).read_bytes()
    assert encoding.name == f"bpe-{SIZE}-{hashlib.sha256(content).hexdigest()[:8]}"
    assert vocabulary.rank_file(encoding) == content
    assert tokenizer.choose_engine("gigatoken", encoding) == ("gigatoken", "")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: lines[:-2] + lines[-1:],
        lambda lines: lines[1:],
        lambda lines: [*lines[:-1], lines[-2]],
        lambda lines: [*lines, b"QQ== %d" % len(lines)],
        lambda lines: [*lines, b"not a line"],
        lambda lines: [*lines, b"\xff"],
        lambda lines: [],
    ],
)
def test_ranks_that_are_not_whole_are_refused(folder, tmp_path, spoil):
    lines = (folder / vocabulary.RANKS).read_bytes().splitlines()
    (tmp_path / vocabulary.RANKS).write_bytes(b"\n".join(spoil(lines)))
    with pytest.raises(UserError) as error:
        vocabulary.load_trained(tmp_path)
    assert f"{vocabulary.RANKS} is corrupt" in one_line(error)


def test_missing_ranks_are_refused(tmp_path):
    with pytest.raises(UserError) as error:
        vocabulary.load_trained(tmp_path)
    assert f"{vocabulary.RANKS} not found" in one_line(error)


loaded = cache(vocabulary.load_trained)


@given(st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_byte_string_comes_back(folder, content):
    encoding = loaded(folder)
    assert encoding.decode_bytes(encoding._encode_bytes(content)) == content


@given(st.text(max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_text_comes_back(folder, text):
    encoding = loaded(folder)
    assert encoding.decode(encoding.encode_ordinary(text)) == text


# ---- three libraries ----


@cache
def unicode_strings() -> list[str]:
    """10,000 of them: words of the corpus, what the pattern treats apart, and any code point."""
    draw = random.Random(1337)
    points = [*range(0xD800), *range(0xE000, 0x110000)]
    words = [*set(" ".join(TEXTS[:50]).split(" ")), *FOREIGN]
    apart = ["'s", "'LL", " ", "  ", "\n", "\r\n", "\t", "\xa0", "\u2028", "\x1c", "1", "²", "!?"]

    def piece() -> str:
        kind = draw.random()
        if kind < 0.4:
            return " " * draw.randrange(2) + draw.choice(words)
        return draw.choice(apart) if kind < 0.6 else chr(draw.choice(points))

    texts = ["".join(piece() for _ in range(draw.randrange(30))) for _ in range(10_000)]
    return [
        text.replace(vocabulary.END_OF_TEXT, "") for text in texts
    ]  # one id to Hugging Face alone


def test_gigatoken_gives_tiktoken_s_ids(folder):
    texts, encoding = unicode_strings(), vocabulary.load_trained(folder)
    expected = encoding.encode_ordinary_batch(texts, num_threads=2)
    ids, lengths = fast.gigatoken(encoding)(block(texts))
    assert lengths.tolist() == [*map(len, expected)]
    assert ids.tolist() == [*chain(*expected)]
    assert len({*ids.tolist()}) > SIZE / 2

    import gigatoken  # from the file itself, without the documents that slm.newer sets apart

    bare = gigatoken.Tokenizer.from_tiktoken(folder / vocabulary.RANKS, "gpt2", special_tokens={})
    newer = {*Holding(GAPS["gpt2"])(block(texts))}
    few = [i for i in range(len(texts)) if i not in newer]
    assert bare.encode_batch([texts[i] for i in few]).tolist() == [expected[i] for i in few]


def test_hugging_face_gives_tiktoken_s_ids(folder):
    texts, encoding = unicode_strings(), vocabulary.load_trained(folder)
    theirs = tokenizers.Tokenizer.from_file(str(folder / from_file.FILE))
    actual = [one.ids for one in theirs.encode_batch(texts)]
    assert actual == encoding.encode_ordinary_batch(texts, num_threads=2)
    assert theirs.decode_batch(actual) == texts
    assert theirs.get_vocab_size() == SIZE
    assert theirs.token_to_id(vocabulary.END_OF_TEXT) == SIZE - 1
    assert theirs.encode(f"a{vocabulary.END_OF_TEXT}").ids == [ord("a"), SIZE - 1]


def hugging_face_s_merges(tokenizers, texts: list[str], pattern: str = "gpt2") -> list[str]:
    """All that its trainer finds, as tokenizer.json writes them."""
    level, pre = tokenizers.pre_tokenizers.ByteLevel, tokenizers.pre_tokenizers
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    theirs.pre_tokenizer = level(add_prefix_space=False)
    if pattern != "gpt2":
        plain = tokenizers.Regex(patterns.PATTERNS[pattern].plain)
        split = pre.Split(plain, "isolated")
        theirs.pre_tokenizer = pre.Sequence([split, level(add_prefix_space=False, use_regex=False)])
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=10**6, initial_alphabet=level.alphabet(), show_progress=False
    )
    theirs.train_from_iterator(texts, trainer)
    actual = json.loads(theirs.to_str())["model"]["merges"]
    return [pair if isinstance(pair, str) else " ".join(pair) for pair in actual]


RUNS = ["aaaabaaaaaaaaab" * 3, "a" * 40, "bb  \n\n\n abba" * 5]
DRAWN = random.Random(13)  # words that occur once, so that thousands of pairs are equally frequent
WORDS = [" ".join("".join(DRAWN.choices("etaoinsé😊", k=9)) for _ in range(4000))]


@pytest.mark.parametrize(
    "texts", [TEXTS, TEXTS[:1], RUNS, WORDS], ids=["stories", "one story", "runs", "random words"]
)
@pytest.mark.parametrize("pattern", patterns.TRAINABLE)
def test_the_merges_are_hugging_face_s_and_end_where_its_end(tmp_path, texts, pattern):
    raw = build(tmp_path, {"a.jsonl": json_lines(texts)})
    encoding = bpe.encoding_of(trained(raw, largest(raw, pattern=pattern), pattern), pattern)
    ours = json.loads(bpe.tokenizer_json(encoding))["model"]["merges"]
    assert ours == hugging_face_s_merges(tokenizers, texts, pattern)


@pytest.mark.parametrize("pattern", ["cl100k", "o200k"])
def test_another_pattern_and_special_tokens_give_three_libraries_one_way(tmp_path, pattern):
    special = ("<|im_end|>", "<|user|>")
    raw = build(tmp_path, {"a.jsonl": json_lines(TEXTS)})
    learnt = trained(raw, 900, pattern, special)
    encoding = bpe.encoding_of(learnt, pattern, special)
    bpe.write_vocabulary(tmp_path, encoding)
    assert len(learnt) == 900 - 256 - 3
    ids = [encoding.encode_single_token(token) for token in (*special, vocabulary.END_OF_TEXT)]
    assert ids == [897, 898, 899]
    about = vocabulary.describe(encoding)
    assert (about["vocab_size"], about["special_tokens"]) == (900, [*special])
    again = vocabulary.load_described(json.loads(to_json(about)), tmp_path)
    assert vocabulary.describe(again) == about
    texts = unicode_strings()
    held = {*Holding(GAPS[pattern])(block(texts))}
    texts = [text for i, text in enumerate(texts) if i not in held]
    expected = encoding.encode_ordinary_batch(texts, num_threads=2)
    ours, _ = fast.gigatoken(encoding)(block(texts))
    assert ours.tolist() == [*chain(*expected)]
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / from_file.FILE))
    assert [one.ids for one in theirs.encode_batch(texts)] == expected
    assert theirs.encode("a<|user|>").ids == [ord("a"), 898]
    assert theirs.get_vocab_size() == 900


def test_pattern_and_special_tokens_are_of_the_name(folder):
    tokens = [*vocabulary.BYTES, b"ab"]
    made = [
        vocabulary.trained_encoding(tokens),
        vocabulary.trained_encoding(tokens, "cl100k"),
        vocabulary.trained_encoding(tokens, "gpt2", ["<|a|>"]),
        vocabulary.trained_encoding(tokens, "gpt2", ["<|b|>"]),
    ]
    assert len({encoding.name for encoding in made}) == 4
    assert len({json.dumps(vocabulary.describe(encoding)) for encoding in made}) == 4


def test_a_special_token_that_is_a_token_of_the_text_is_refused(raw):
    with pytest.raises(UserError) as error:
        make(Wanted("bpe", 600, special_tokens=("<|a|>", "an")), raw, None)
    assert "special_tokens has 'an', which is a token of the trained" in one_line(error)
