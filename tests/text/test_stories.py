"""Facts about the embedded corpus: what it promises, and what a reader would notice."""

import hashlib
import itertools
import os
import re
import shutil
import statistics
import subprocess
import sys
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from slm.text import stories as module
from slm.text.stories import stories

ROOT = Path(__file__).parents[2]
GRAMMAR = ROOT / "slm" / "text" / "stories.toml"
# 2,000 train and 100 validation stories of seed 1
GOLDEN = "bf2c88a6c391468ed0bbc6f4c9ba9bdc7de3616821d47949712bc7de2562ccfb"
DIGEST = """
import hashlib
from slm.text.stories import stories
told = [*stories(1, "train", 2000), *stories(1, "validation", 100)]
print(hashlib.sha256("\\0".join(told).encode()).hexdigest())
"""


@cache
def train(documents: int) -> list[str]:
    return list(stories(1, "train", documents))


@cache
def data() -> dict:
    return tomllib.loads(GRAMMAR.read_text(encoding="utf-8"))


def names_in(text: str) -> set[str]:
    return set(re.findall(r"\w+", text)) & set(module._grammar()["names"])


def pythons() -> dict[str, str]:
    """One interpreter a version, of those that we support: {"3.12": path}."""
    found = {}
    for version in ("3.11", "3.12", "3.13"):
        kept = sorted(Path.home().glob(f".pyenv/versions/{version}*/bin/python"))
        on_path = shutil.which(f"python{version}")
        for python in [*map(str, kept), *([on_path] if on_path else [])]:
            asked = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
            run = subprocess.run(asked, capture_output=True, text=True)
            if run.stdout.strip() == version:
                found.setdefault(version, python)
    return found


# ---- the same bytes everywhere ----


def test_a_seed_gives_the_golden_bytes():
    told = [*train(2000), *stories(1, "validation", 100)]
    assert hashlib.sha256("\0".join(told).encode()).hexdigest() == GOLDEN


def test_the_same_seed_gives_the_same_bytes_on_other_pythons():
    found = pythons()
    this = f"{sys.version_info.major}.{sys.version_info.minor}"
    others = [path for version, path in found.items() if version != this]
    if not others:
        pytest.skip(f"only one Python found: {found}")
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"}
    runs = [
        subprocess.Popen([python, "-c", DIGEST], env=env, stdout=subprocess.PIPE, text=True)
        for python in others
    ]
    assert [run.communicate()[0].strip() for run in runs] == [GOLDEN] * len(others)


def test_fewer_stories_are_the_first_of_more():
    for few in (0, 1, 999, 1000, 1001):
        assert list(stories(1, "train", few)) == train(5000)[:few]


def test_stories_come_one_by_one():
    endless = stories(1, "train", 10**12)
    assert list(itertools.islice(endless, 3)) == train(5000)[:3]


def test_another_seed_or_split_tells_other_stories():
    assert not set(train(5000)) & {text for text in stories(2, "train", 500) if text}
    assert not set(train(5000)) & {text for text in stories(1, "test", 500) if text}


# ---- train and validation ----


def test_train_and_validation_share_no_story():
    validation = set(stories(1, "validation", 1000)) - {""}
    assert len(validation) > 990
    assert not validation & set(train(20_000))


def test_the_names_in_a_story_tell_its_side():
    number = {name: index for index, name in enumerate(module._grammar()["names"])}
    for split in ("train", "validation"):
        for text in filter(None, stories(1, split, 1000)):
            hero, friend = names_in(text)  # two, neither more nor fewer
            assert module._held_out(number[hero], number[friend]) == (split == "validation")


def test_every_plot_names_the_hero_and_the_friend_whatever_is_drawn():
    tables = module._grammar()["tables"]
    for who in ("hero", "friend"):
        sure = {who}
        while more := {
            slot
            for slot, table in tables.items()
            if slot not in sure
            and all(sure & set(re.findall(r"%\((?:\w+:)?(\w+)\)s", text)) for text in table)
        }:
            sure |= more
        assert not set(module._grammar()["plots"]) - sure


def test_the_grammar_itself_holds_no_name():
    texts = [*data()["words"].values(), *data()["lines"].values(), *data()["morals"].values()]
    words = set(re.findall(r"\w+", " ".join(texts)))
    assert not (words | {word.capitalize() for word in words}) & set(module._grammar()["names"])


# ---- the curve of lengths and words ----


def test_lengths_are_those_of_small_stories():
    lengths = np.array([len(text.encode()) for text in train(5000) if text])
    assert 850 <= lengths.mean() <= 950
    assert 780 <= np.median(lengths) <= 880
    assert 1900 <= np.percentile(lengths, 99) <= 2600
    assert lengths.min() < 300
    assert lengths.max() > 3000


def test_a_few_documents_are_empty():
    assert 3 <= train(20_000).count("") <= 20


def test_no_story_is_told_twice():
    told = [text for text in train(5000) if text]
    assert len(set(told)) == len(told)


def test_words_fall_with_their_rank_as_in_real_text():
    # 1,000 real TinyStories: slope -1.07 over the first 1,000 ranks; 4,700 different words.
    words = [re.sub(r"[^\w']", "", word.lower()) for word in " ".join(train(5000)).split()]
    counts = sorted(Counter(words).values(), reverse=True)
    slope, _ = np.polyfit(np.log(np.arange(1, 1001)), np.log(counts[:1000]), 1)
    assert -1.2 < slope < -0.9
    assert len(counts) > 2500


# ---- what a reader would notice ----


def test_stories_have_paragraphs_quotes_of_both_kinds_and_more_than_ascii():
    told = train(5000)

    def share(holds):
        return statistics.mean(map(holds, told))

    assert 0.7 < share(lambda text: "\n\n" in text) < 0.95
    assert 0.02 < share(lambda text: "“" in text) < 0.1
    assert share(lambda text: '"' in text) > 0.5
    assert 0.1 < share(lambda text: not text.isascii()) < 0.4
    assert any("😊" in text for text in told)


def test_quotes_are_balanced_and_no_template_shows():
    for text in train(5000):
        for paragraph in text.split("\n\n"):
            assert paragraph.count('"') % 2 == 0, text
            assert paragraph.count("“") == paragraph.count("”"), text
        assert not re.search(r"[{}%¶_]|  |\n\n\n| \n|\n |\s$|^\s| [.,!?]|,[.,]|\.[.,]", text), text
        assert "\n" not in text.replace("\n\n", ""), text


def test_sentences_start_with_a_capital():
    for text in train(5000):
        plain = text.replace("“", '"').replace("”", '"')
        assert not re.search(r'(^|\n\n|[a-z]\. )"?[a-z]', plain), text


def test_a_and_an_fit_the_next_word():
    sounds_open = re.compile(r"(?!uni|use|uku|one)[aeiouéAEIOU]|hour|honest")
    for text in train(5000):
        for article, word in re.findall(r"\b([Aa]n?) (\w+)", text):
            assert article.endswith("n") == bool(sounds_open.match(word)), (article, word)


def test_a_story_begins_and_ends_like_one():
    openings = Counter(text.split()[0] for text in train(5000) if text)
    assert openings.most_common(1)[0][1] < 0.4 * 5000
    assert all(text.endswith(tuple('.!?"”😊')) for text in train(5000) if text)
