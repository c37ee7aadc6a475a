"""What is held out follows salt and text alone, and as often as the share says."""

import random

import numpy as np
import pytest

from slm.core.errors import UserError
from slm.selection.audit import audit
from slm.selection.facts import FACTS
from slm.selection.holdout import held_out
from slm.selection.wanted import Holdout, wanted
from slm.text.stories import stories
from tests.helpers import build, json_lines, one_line
from tests.selection.test_select import params_of, slow_is_held

TEXTS = [*stories(5, "train", 400), "A copy.", "A copy.", ""]
HELD = Holdout("validation", share=0.2, salt=11)


def held_texts(folder, files: dict[str, list[str]], holdout: Holdout = HELD) -> list[str]:
    """The texts that are held out of a train split of these files, sorted."""
    raw = build(folder, {name: json_lines(texts) for name, texts in files.items()})
    facts = audit(raw, 1)["train"].facts
    every = [text for texts in files.values() for text in texts]
    return sorted(every[row] for row in np.flatnonzero(held_out(holdout, facts)))


def test_order_files_and_other_documents_have_no_say(tmp_path):
    expected = sorted(text for text in TEXTS if slow_is_held(text, 0.2, 11))
    assert 40 < len(expected) < 120
    mixed = random.Random(1).sample(TEXTS, len(TEXTS))
    more = list(stories(6, "train", 50))
    assert held_texts(tmp_path / "a", {"a.jsonl": TEXTS}) == expected
    assert held_texts(tmp_path / "b", {"z.jsonl": mixed[:90], "a.jsonl": mixed[90:]}) == expected
    added = held_texts(tmp_path / "c", {"a.jsonl": more, "b.jsonl": mixed})
    assert sorted(set(added) - set(more)) == sorted(set(expected))
    removed = held_texts(tmp_path / "d", {"a.jsonl": TEXTS[100:]})
    assert set(removed) == set(expected) & set(TEXTS[100:])


def test_another_salt_or_share_holds_others_out_and_a_larger_share_more():
    facts = facts_of_bytes(20_000)
    held = {s: held_out(Holdout("v", share=s, salt=1), facts) for s in (0.1, 0.2)}
    assert not (held[0.1] & ~held[0.2]).any()
    other = held_out(Holdout("v", share=0.1, salt=2), facts)
    both = np.count_nonzero(held[0.1] & other)
    assert abs(both - 200) < 5 * 200**0.5  # as of two coins that know nothing of each other


def facts_of_bytes(documents: int) -> np.ndarray:
    """Facts of so many documents with hashes of no text in particular."""
    facts = np.zeros(documents, FACTS)
    drawn = np.random.default_rng(3).bytes(16 * documents)
    facts["hash"] = np.frombuffer(drawn, "V16")
    return facts


@pytest.mark.parametrize("share", [0.005, 0.1, 0.5])
def test_the_share_comes_out_over_200_salts(share):
    documents, salts = 40_000, 200
    facts = facts_of_bytes(documents)
    counted = [
        np.count_nonzero(held_out(Holdout("v", share=share, salt=salt), facts))
        for salt in range(salts)
    ]
    variance = documents * share * (1 - share)
    chi2 = sum((count - documents * share) ** 2 for count in counted) / variance
    assert 120 < chi2 < 300  # of 200 degrees of freedom: four standard deviations below, five above
    assert abs(sum(counted) / salts - documents * share) < 4 * (variance / salts) ** 0.5


BAD = {
    "no split": {"salt": 0},
    "two splits": {"a": 0.1, "b": 0.1, "salt": 0},
    "the source's": {"train": 0.1, "salt": 0},
    "no salt": {"validation": 0.1},
    "a whole number": {"validation": 1, "salt": 0},
    "all": {"validation": 1.0, "salt": 0},
    "below none": {"validation": -0.1, "salt": 0},
    "a salt with last": {"validation": {"last": 0.1}, "salt": 0},
    "last of all": {"validation": {"last": 1.0}},
    "rows backwards": {"validation": {"rows": [5, 5]}},
    "one row": {"validation": {"rows": [5]}},
    "both": {"validation": {"rows": [0, 5], "last": 0.1}},
    "a name of a folder": {"../validation": 0.1, "salt": 0},
    "no mapping": 0.1,
    "a name too long for a file": {"v" * 61: 0.1, "salt": 0},
    "another name among the figures": {"vocab_size": 0.1, "salt": 0},
    "a name among the figures": {"selection": 0.1, "salt": 0},
    "a share that YAML reads as text": {"validation": "1e-3", "salt": 0},
    "a salt too large": {"validation": 0.1, "salt": 2**64},
}


@pytest.mark.parametrize("name", BAD)
def test_a_holdout_that_means_nothing_is_refused(name):
    with pytest.raises(UserError) as error:
        wanted(params_of({"holdout": BAD[name]}), "mine")
    said = one_line(error)
    assert "params.yaml: select.mine.holdout " in said or "a split is named " in said


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ([], "select.mine is [], expected some of holdout, repair"),
        ({"hold": 1}, "select.mine has 'hold', expected some of holdout, repair"),
        ({"repair": "mojibake"}, "select.mine.repair is 'mojibake', expected a list, some of moj"),
        ({"repair": ["typos"]}, "select.mine.repair is ['typos'], expected a list, some of moj"),
        ({"drop": ["short"]}, "select.mine.drop is ['short'], expected a list, some of empty, dup"),
        ({"drop": [["empty"]]}, "select.mine.drop is [['empty']], expected a list"),
        ({"shuffle": -1}, "select.mine.shuffle is -1, expected a whole number, 0 to 1844"),
        ({"shuffle": True}, "select.mine.shuffle is True, expected a whole number"),
        ({"first": 0}, "select.mine.first is 0, expected a whole number, 1 to"),
        ({"first": 2.5}, "select.mine.first is 2.5, expected a whole number"),
    ],
)
def test_an_entry_that_means_nothing_is_refused(entry, says):
    with pytest.raises(UserError) as error:
        wanted(params_of(entry), "mine")
    assert says in one_line(error)


def test_what_is_no_dataset_and_what_train_cannot_have_is_refused():
    for key, value in {"holdout": {"v": 0.1, "salt": 0}, "shuffle": 1, "first": 5}.items():
        with pytest.raises(UserError) as error:
            wanted(params_of({key: value}, splits=("test",)), "mine")
        assert f"select.mine.{key} is of train; mine has only test" in one_line(error)
    with pytest.raises(UserError) as error:
        wanted(params_of({}) | {"select": {"yours": {}}}, "mine")
    assert "select has 'yours', no dataset: mine" in one_line(error)
    for section in (None, [], "all"):
        with pytest.raises(UserError) as error:
            wanted(params_of({}) | {"select": section}, "mine")
        assert f"has select: {section!r}; it must have `select: {{}}`, or" in one_line(error)
    with pytest.raises(UserError) as error:
        wanted({"datasets": params_of({})["datasets"]}, "mine")
    assert "has no section select; it must have `select: {}`" in one_line(error)
    nothing = wanted(params_of({}), "mine")
    assert wanted(params_of(None), "mine") == nothing
    for key in ("holdout", "repair", "drop", "shuffle", "first"):
        assert wanted(params_of({key: None}), "mine") == nothing
