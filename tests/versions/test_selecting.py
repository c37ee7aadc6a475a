"""What a change of `select:` builds again, and what it shows; by the commands themselves."""

import json
import re
import shutil
from pathlib import Path

import pytest

from slm.bins.opening import open_bins
from slm.text.stories import stories
from tests.helpers import json_lines
from tests.workspace import add_dataset, commit, edit, git, hashes, script, workspace

TRAIN = [*stories(3, "train", 120), "", "It was Timâ€™s.", "A copy.", "A copy.", "Leaked."]
FILES = "files: {train: [b.jsonl, a.jsonl], test: [test.jsonl]}"
ENTRY = "{drop: [empty, duplicates, leaked], repair: [mojibake]}"


@pytest.fixture(scope="module")
def built(_fast_commands, tmp_path_factory) -> Path:
    """A workspace with a small dataset, built without a selection and committed."""
    folder = workspace(tmp_path_factory.mktemp("selecting"))
    source = add_dataset(folder, "mine", FILES)
    for name, texts in {"b": TRAIN[:50], "a": TRAIN[50:], "test": ["Leaked.", "Other."]}.items():
        (source / f"{name}.jsonl").write_bytes(json_lines(texts))
    script(folder, "make_data", "mine")
    commit(folder)
    return folder


@pytest.fixture
def copy(built, tmp_path) -> Path:
    return shutil.copytree(built, tmp_path / "copy", symlinks=True)


def selecting(folder: Path, entry: str, name: str = "mine") -> None:
    """Give a dataset this entry of `select:`, in place of the one that it has."""
    params = folder / "params.yaml"
    text = re.sub(rf"(?m)^  {name}: \{{.*\}}\n", "", params.read_text())
    params.write_text(
        text.replace("select:\n", f"select:\n  {name}: {entry}\n" if entry else "select:\n")
    )


def ran(said: str) -> list[str]:
    """The stages that say something."""
    return re.findall(r"(?m)^(\w+): ", said)


def test_another_selection_tokenizes_nothing_and_none_gives_the_bytes_before(copy):
    before = hashes(copy / "data/mine/bins")
    for entry in (ENTRY, "{shuffle: 1}", "{holdout: {validation: 0.1, salt: 0}, first: 20}"):
        selecting(copy, entry)
        assert ran(script(copy, "make_data")) == ["select", "vocabulary", "bins", "describe"]
        assert hashes(copy / "data/mine/bins") != before
        assert script(copy, "make_data").startswith("nothing to do")
        assert "every byte" in script(copy, "verify")
    selecting(copy, "")
    assert "tokenize" not in ran(script(copy, "make_data"))
    assert hashes(copy / "data/mine/bins") == before
    assert git(copy, "status", "--porcelain", "data", "metrics", "dvc.lock") == ""


def test_a_selection_of_another_dataset_or_to_the_same_end_runs_nothing_after_select(copy):
    selecting(copy, "{shuffle: 1}", "tinystories")
    assert ran(script(copy, "make_data")) == ["select"]
    selecting(copy, "{first: 100000}")  # more than there are
    assert "bins" in ran(script(copy, "make_data"))  # their manifest says so
    ids = open_bins(copy / "data/mine/bins").ids("train")
    assert ids.tobytes() == (copy / "data/mine/tokens/train.ids").read_bytes()


def test_a_trained_vocabulary_sees_what_is_selected_as_train_alone(copy):
    edit(copy / "params.yaml", "encoding: gpt2 ", "encoding: bpe ")
    edit(copy / "params.yaml", "vocab_size: null ", "vocab_size: 300 ")
    script(copy, "make_data")
    whole = (copy / "data/mine/vocabulary/vocabulary.json").read_bytes()
    selecting(copy, "{first: 30}")
    assert ran(script(copy, "make_data")) == [
        *("select", "vocabulary", "tokenize", "bins", "describe")
    ]
    first = (copy / "data/mine/vocabulary/vocabulary.json").read_bytes()
    assert first != whole
    selecting(copy, "{shuffle: 7}")  # another order, the same words
    script(copy, "make_data")
    assert (copy / "data/mine/vocabulary/vocabulary.json").read_bytes() == whole


def test_what_was_left_out_and_repaired_is_listed_and_the_steps_are_shown(copy):
    selecting(copy, ENTRY)
    shown = script(copy, "show")
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "selection split took left left, bytes left, tokens" in lines
    assert "repair train 1 125 108,048 28,048" in lines, shown
    assert script(copy, "show", "--rows", "dropped").splitlines() == [
        "train: empty: row 71 of a.jsonl: ''",
        "train: duplicates: row 74 of a.jsonl: 'A copy.'",
        "train: leaked: row 75 of a.jsonl: 'Leaked.'",
    ]
    assert script(copy, "show", "--rows", "repaired") == (
        "train: repaired: row 72 of a.jsonl: 'It was Tim’s.'\n"
    )
    steps = json.loads((copy / "metrics/mine/tokens.json").read_text())["selection"]
    assert steps == open_bins(copy / "data/mine/bins").manifest["selection"]["steps"]


def test_after_a_pull_what_was_left_out_is_listed_too_and_end_of_text_is_built_anew(copy):
    selecting(copy, ENTRY)
    script(copy, "make_data")
    listed = script(copy, "show", "--rows", "dropped")
    for out in ("raw", "facts", "selection", "vocabulary", "tokens"):
        shutil.rmtree(copy / "data/mine" / out)
    assert script(copy, "make_data").startswith("nothing to do")
    assert script(copy, "show", "--rows", "dropped").endswith(listed)
    shutil.rmtree(copy / "data/mine/tokens", ignore_errors=True)
    edit(copy / "params.yaml", "end_of_text: none ", "end_of_text: append ")
    assert "tokenize" in ran(script(copy, "make_data"))
    ids = open_bins(copy / "data/mine/bins").ids("train")
    assert (ids == 50_256).sum() == len(TRAIN) - 3


def test_a_wrong_entry_is_refused_before_anything_is_removed(copy):
    before = hashes(copy / "data/mine")
    selecting(copy, "{holdout: {test: 0.1, salt: 0}}")
    said = script(copy, "make_data", fails=True)
    assert "select.mine.holdout makes test, which the source has" in said
    assert hashes(copy / "data/mine") == before


def test_a_file_of_shakespeare_is_missed_in_one_line_and_then_its_last_tenth_is_held_out(copy):
    said = script(copy, "make_data", "shakespeare", fails=True)
    assert "matches nothing in data/shakespeare/source; put or link the files there" in said
    play = "All:\nSpeak, speak.\n" * 100
    (copy / "data/shakespeare/source/input.txt").write_text(play)
    said = script(copy, "make_data", "shakespeare")
    docs = {s: open_bins(copy / "data/shakespeare/bins").docs(s) for s in ("train", "validation")}
    assert docs["train"][1, 1] == len(play) * 9 // 10
    assert docs["validation"][1, 1] == len(play) - len(play) * 9 // 10


def test_a_card_says_what_was_selected(copy):
    selecting(copy, ENTRY)
    script(copy, "make_card")
    card = (copy / "reports/mine/README.md").read_text()
    assert "- Selection: repair of train: 1 documents, 125 left.\n" in card
    assert "- Selection: leaked of train: 1 documents, 122 left.\n" in card


def test_after_a_pull_the_selection_of_another_dataset_fetches_and_builds_nothing(copy):
    selecting(copy, ENTRY)
    script(copy, "make_data")
    for out in ("raw", "facts", "selection", "vocabulary", "tokens"):
        shutil.rmtree(copy / "data/mine" / out)
    selecting(copy, "{shuffle: 1}", "tinystories")
    assert script(copy, "make_data").startswith("nothing to do")
    selecting(copy, "{shuffle: 2}")  # its own
    assert "tokenize" in ran(script(copy, "make_data"))


def test_after_a_pull_end_of_text_is_changed_too_where_another_selection_was(copy):
    for out in ("raw", "facts", "selection", "vocabulary", "tokens"):
        shutil.rmtree(copy / "data/mine" / out)
    selecting(copy, "{shuffle: 1}", "tinystories")
    edit(copy / "params.yaml", "end_of_text: none ", "end_of_text: append ")
    said = script(copy, "make_data")
    assert "restored from the bins, nothing fetched" in said and ran(said)[:2] == ["tokens", "bins"]
