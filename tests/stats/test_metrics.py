"""The stages that describe: what they write is what loops over the documents find."""

import csv
import json
import re
import shutil
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
import tiktoken

from slm.bins.opening import open_bins
from slm.core.rounding import rounded
from slm.stats.histograms import ranks
from slm.text.stories import stories
from slm.versions.lock import locked_outs
from slm.versions.pipeline import todo
from tests.helpers import json_lines
from tests.selection.test_audit import slowly as slow_audit
from tests.stats.test_describe import slowly as slow_figures
from tests.workspace import EXCERPT, add_dataset, commit, edit, git, script, workspace

GPT2 = tiktoken.get_encoding("gpt2")
FILES = 'column: text\nfiles: {train: ["train.jsonl"], validation: ["validation.jsonl"]}'
OTHER_WINDOWS = ("windows of so many tokens\n  block_size: 256", "so many\n  block_size: 9")
TRAIN = [*stories(1, "train", 60), "It was Timâ€™s.", "", "Bell\a.", "And then"]
BEGINS = TRAIN[5][:60] + "…"
VALIDATION = [*stories(1, "validation", 8), TRAIN[5]]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A workspace whose dataset has every fault, and what `make describe` says of it."""
    folder = workspace(tmp_path_factory.mktemp("shown"))
    source = add_dataset(folder, "planted", FILES)
    for split, texts in (("train", [*TRAIN, TRAIN[7]]), ("validation", VALIDATION)):
        (source / f"{split}.jsonl").write_bytes(json_lines(texts))
    commit(folder)
    return folder, script(folder, "show", "planted")


def texts_of(folder: Path) -> dict[str, list[str]]:
    lines = {split: (folder / f"{split}.jsonl").read_text() for split in ("train", "validation")}
    return {
        split: [json.loads(line)["text"] for line in of.split("\n") if line]
        for split, of in lines.items()
    }


def assert_slow(metrics: Path, texts: dict[str, list[str]]) -> None:
    """The files of a dataset's metrics are what plain loops over its texts give."""
    tokens, text = (json.loads((metrics / f"{of}.json").read_text()) for of in ("tokens", "text"))
    assert tokens.pop("vocab_size") == GPT2.n_vocab
    tables = {
        name: list(csv.DictReader((metrics / f"{name}.csv").open()))
        for name in ("lengths", "ranks", "bytes")
    }
    for split, own in texts.items():
        ids = [GPT2.encode_ordinary(document) for document in own]
        expected = slow_figures(own, ids, GPT2.n_vocab, 256)
        words, rows = slow_audit(split, texts)
        expected["tokens_per_word"] = sum(map(len, ids)) / words
        assert tokens[split] == rounded(expected)
        assert (text[split].pop("documents"), text[split].pop("words")) == (len(own), words)
        assert text[split] == rounded(
            {kind: {"documents": len(of), "share": len(of) / len(own)} for kind, of in rows.items()}
        )
        frequent = [n for _, n in Counter(i for of in ids for i in of).most_common()]
        found = {name: [row for row in of if row["split"] == split] for name, of in tables.items()}
        assert [(int(row["rank"]), int(row["count"])) for row in found["ranks"]] == [
            (rank, frequent[rank - 1]) for rank in ranks(len(frequent))
        ]
        shares = [Fraction(len(t.encode()), len(i)) for t, i in zip(own, ids, strict=True) if i]
        for name, values in (("lengths", [*map(len, ids)]), ("bytes", shares)):
            for row in found[name]:
                inside = sum(Fraction(row["from"]) <= v < Fraction(row["to"]) for v in values)
                assert int(row["documents"]) == inside
            assert sum(int(row["documents"]) for row in found[name]) == len(values)


def test_the_metrics_are_what_loops_over_the_documents_find(shown):
    folder, _ = shown
    assert_slow(folder / "metrics/planted", texts_of(folder / "data/planted/source"))


@pytest.mark.skipif(not EXCERPT.is_dir(), reason="needs ../shared/tinystories")
def test_the_metrics_of_the_real_excerpt_are_so_too(shown):
    folder, _ = shown
    source = add_dataset(folder, "excerpt", FILES)
    source.rmdir()
    source.symlink_to(EXCERPT)
    script(folder, "make_data", "excerpt")
    assert_slow(folder / "metrics/excerpt", texts_of(EXCERPT))
    script(folder, "make_data", "planted")


def test_what_was_planted_is_shown_and_counted(shown):
    _, said = shown
    assert (
        "audit:      1 mojibake, 1 control characters, 1 unfinished, 1 duplicates, "
        "2 in several splits" in said
    )
    lines = [re.sub(r" +", " ", line) for line in said.splitlines()]
    assert "mojibake 1 (1.5 %) 0" in lines and "duplicates 1 (1.5 %) 0" in lines
    assert "also_in_validation 1 (1.5 %) -" in lines and "also_in_train - 1 (11 %)" in lines
    assert "documents 65 9" in lines and any(line.startswith("tokens per word ") for line in lines)
    drawn = [line.removeprefix("drew ") for line in lines if line.startswith("drew ")]
    assert drawn == [f"reports/planted/describe/{of}.svg" for of in ("lengths", "ranks", "bytes")]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("mojibake", ["train document 60, row 61 of train.jsonl: 'It was Timâ€™s.'"]),
        ("control_characters", ["train document 62, row 63 of train.jsonl: 'Bell\\x07.'"]),
        ("unfinished", ["train document 63, row 64 of train.jsonl: 'And then'"]),
        ("duplicates", [f"train document 64, row 65 of train.jsonl: {TRAIN[7][:60] + '…'!r}"]),
        ("also_in_train", [f"validation document 8, row 9 of validation.jsonl: {BEGINS!r}"]),
    ],
)
def test_the_rows_at_fault_are_listed_on_request(shown, kind, expected):
    assert script(shown[0], "show", "planted", "--rows", kind).splitlines() == expected


def test_a_kind_of_fault_that_is_none_is_refused_with_those_known(shown):
    said = script(shown[0], "show", "planted", "--rows", "typos", fails=True)
    assert said.startswith("error: 'typos' is no kind of document here; expected one of mojibake, ")
    assert said.endswith(", also_in_validation, dropped, repaired\n")


def test_metrics_are_known_to_git_and_to_dvc_and_pictures_to_neither_lock(shown):
    folder, _ = shown
    new = git(folder, "status", "--porcelain", "-uall").splitlines()
    tables = ("bytes.csv", "lengths.csv", "ranks.csv", "summary.json", "tokens.json")
    assert {f"?? metrics/planted/{name}" for name in (*tables, "text.json")} < {*new}
    outs = locked_outs(folder / "dvc.lock", "describe@planted")
    assert sorted(outs) == [f"metrics/planted/{name}" for name in tables]
    assert "reports" not in (folder / "dvc.lock").read_text()


def test_a_change_of_the_block_size_describes_again_and_nothing_else(shown, tmp_path, monkeypatch):
    folder = shutil.copytree(shown[0], tmp_path / "copy", symlinks=True)
    for out in ("raw", "vocabulary", "tokens"):
        shutil.rmtree(folder / "data/planted" / out)
    monkeypatch.chdir(folder)
    assert todo("planted") == set()
    edit(folder / "params.yaml", *OTHER_WINDOWS)
    assert todo("planted") == {"describe"}
    said = script(folder, "make_data").splitlines()
    assert said[0].startswith("describe:") and said[1].startswith("built")
    (folder / "metrics/planted/ranks.csv").unlink()
    assert todo("planted") == {"describe"}
    said = script(folder, "make_data")
    assert said.startswith("describe:")
    assert script(folder, "make_data").startswith("nothing to do")
    assert open_bins(folder / "data/planted/bins")


def test_metrics_that_were_edited_are_made_again(shown, tmp_path, monkeypatch):
    folder = shutil.copytree(shown[0], tmp_path / "copy", symlinks=True)
    path = folder / "metrics/planted/text.json"
    whole = path.read_bytes()
    path.write_text(path.read_text().replace('"words": ', '"words": 1'))
    said = script(folder, "make_data")  # by the stage, or from DVC's memory of its runs
    assert said.startswith(("built", "audit:"))
    assert path.read_bytes() == whole and script(folder, "make_data").startswith("nothing to do")
