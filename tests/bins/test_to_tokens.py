"""Tokens come back from bins, byte for byte, and only where dvc.lock proves it."""

import json
import re
import shutil
import signal
import subprocess
import sys
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm.bins import to_tokens
from slm.bins.end_of_text import without_end_of_text
from slm.bins.opening import open_bins
from slm.bins.to_tokens import write_tokens
from slm.bins.writing.from_tokens import write_bins
from slm.core.errors import UserError
from slm.core.files import HashedFile, to_json
from slm.core.ids import dtype_for
from slm.text.corpus import make_raw
from slm.tokens.token_files import make_tokens
from slm.tokens.vocabulary import load_encoding
from slm.versions import restore as restoring
from slm.versions.pipeline import todo
from slm.versions.restore import restore
from tests.helpers import json_lines, one_line
from tests.workspace import commit, edit, environment, git, hashes, script, workspace

EOT = 9
POLICIES = ("none", "append", "prepend")
SMALL = ("documents: {train: 5000, validation: 250}", "documents: {train: 60, validation: 8}")
SAID = "tokens:     restored from the bins, nothing fetched\n"

documents = st.lists(st.lists(st.integers(0, EOT), max_size=5), min_size=1, max_size=20)
cuts = st.lists(st.integers(0, 130), max_size=8)


def ends(docs: list[list[int]], more: int = 0) -> np.ndarray:
    return np.cumsum([0, *(len(doc) + more for doc in docs)]).astype("<u8")


def cut(ids: np.ndarray, positions: list[int]) -> list[np.ndarray]:
    edges = [0, *sorted(min(position, len(ids)) for position in positions), len(ids)]
    return [ids[start:end] for start, end in pairwise(edges)]


def joined(parts) -> np.ndarray:
    return np.concatenate([np.empty(0, "<u2"), *parts]).astype("<u2")


@given(documents, cuts, st.sampled_from(POLICIES[1:]))
@settings(max_examples=300, deadline=None)
def test_taking_end_of_text_out_leaves_the_ids_of_the_documents(docs, after, policy):
    ids = np.array([i for doc in docs for i in doc], "<u2")
    whole = [[*doc, EOT] if policy == "append" else [EOT, *doc] for doc in docs]
    longer = np.array([i for doc in whole for i in doc], "<u2")
    assert len(longer) == len(ids) + len(docs)
    actual = list(without_end_of_text(iter(cut(longer, after)), ends(docs, 1), policy))
    assert joined(actual).tolist() == ids.tolist()
    assert all(part.dtype == ids.dtype for part in actual)


def by_hand(tokens: Path, docs: list[list[int]], vocab_size: int) -> Path:
    """A tokens/ folder that says it is of a vocabulary of this size."""
    tokens.mkdir()
    totals = np.stack([ends(docs), 7 * ends(docs)], axis=1)
    contents = {"ids": [i for doc in docs for i in doc], "totals": totals}
    actual = {}
    for kind, dtype in (("ids", dtype_for(vocab_size)), ("totals", "<u8")):
        with HashedFile(tokens / f"train.{kind}") as file:
            file.write(np.ascontiguousarray(contents[kind], dtype))
        actual[kind] = file.hashes
    counts = {"tokens": int(totals[-1, 0]), "documents": len(docs), "bytes": int(totals[-1, 1])}
    made = {
        "source": {"name": "mine", "files": {"train": []}},
        "vocabulary": {"encoding": "any", "vocab_size": vocab_size, "end_of_text": EOT},
        "splits": {"train": {**counts, "sha256": actual}},
    }
    (tokens / "tokens.json").write_bytes(to_json(made))
    return tokens


def back(tokens: Path, folder: Path, policy: str, expected: dict) -> Path:
    """The tokens/ that come back from the bins that this one makes."""
    bins, out = folder / f"{policy}-bins", folder / f"{policy}-back"
    bins.mkdir()
    out.mkdir()
    write_bins(tokens, bins, policy)
    write_tokens(open_bins(bins), out, expected)
    return out


@pytest.mark.parametrize("vocab_size", [50_257, 200_019])
@pytest.mark.parametrize("docs", [[[]], [[], []], [[EOT], [], [EOT, EOT]], [[1, 2, 3]] * 9])
def test_every_policy_gives_the_same_tokens_back(tmp_path, monkeypatch, docs, vocab_size):
    monkeypatch.setattr(to_tokens, "CHUNK_BYTES", 16)  # several pieces, of ids and of totals
    tokens = by_hand(tmp_path / "tokens", docs, vocab_size)
    for policy in POLICIES:
        assert hashes(back(tokens, tmp_path, policy, {})) == hashes(tokens), policy


def test_counts_that_the_pins_expect_stand_in_tokens_json_again(tmp_path, monkeypatch):
    source, revision = tmp_path / "source", "a" * 40
    source.mkdir()
    published, lines = tmp_path / "train.jsonl", json_lines(["One.", "", "Two two."])
    published.write_bytes(lines)
    entry = {"kind": "hub", "path": "a/b", "revision": revision, "column": "text"}
    entry["splits"] = ["train"]
    file = {"name": "train.jsonl", "bytes": len(lines), "sha256": sha256(lines).hexdigest()}
    pins = {"path": "a/b", "revision": revision, "files": {"train": [file]}}
    pins["tokens"] = {"other": {"train": 8}, "gpt2": {"train": 5}}
    (source / "pins.json").write_text(json.dumps(pins))
    monkeypatch.setattr("slm.text.hub.download.cached", lambda *_: published)
    for name in ("raw", "tokens"):
        (tmp_path / name).mkdir()
    make_raw("pinned", entry, source, tmp_path / "raw")
    make_tokens(tmp_path / "raw", load_encoding("gpt2"), tmp_path / "tokens", "tiktoken", 1)
    expected = restoring._expected_tokens(entry, source)
    assert expected == {"expected_tokens": pins["tokens"]}
    truth = hashes(tmp_path / "tokens")
    for policy in POLICIES:
        assert hashes(back(tmp_path / "tokens", tmp_path, policy, expected)) == truth


# --- under DVC ---


def from_nothing(folder: Path, policy: str) -> Path:
    """A workspace whose small sample was built with this end-of-text, all stages of it."""
    workspace(folder)
    edit(folder / "params.yaml", *SMALL)
    set_policy(folder, policy)
    message = script(folder, "make_data")
    assert message.startswith("download:") and f"end of text: {policy}" in message
    commit(folder)
    return folder


def set_policy(folder: Path, policy: str) -> None:
    lines = (folder / "params.yaml").read_text().splitlines(keepends=True)
    changed = [
        f"  end_of_text: {policy}\n"
        if line.startswith("  end_of_text:") and "null" not in line
        else line
        for line in lines
    ]
    (folder / "params.yaml").write_text("".join(changed))


@pytest.fixture(scope="module")
def full(small_sample: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The workspaces of the policies none and append, built from nothing."""
    return {"none": small_sample, "append": from_nothing(tmp_path_factory.mktemp("a"), "append")}


@pytest.fixture
def pulled(full, tmp_path):
    """Makes a workspace as a clone is after a pull: bins, their cached objects, and dvc.lock."""

    def make(policy: str) -> Path:
        folder = shutil.copytree(full[policy], tmp_path / "clone", symlinks=True)
        for gone in ("raw", "vocabulary", "tokens"):
            shutil.rmtree(folder / "data/sample" / gone)
        for gone in (".dvc/tmp", ".dvc/cache/runs"):
            shutil.rmtree(folder / gone)
        return folder

    return make


def same(folder: Path, truth: Path, *outs: str) -> bool:
    """Whether bins, these other outs and dvc.lock are those of another workspace."""
    return (folder / "dvc.lock").read_bytes() == (truth / "dvc.lock").read_bytes() and all(
        hashes(folder / "data/sample" / out) == hashes(truth / "data/sample" / out)
        for out in ("bins", *outs)
    )


def test_after_a_pull_end_of_text_is_changed_there_and_back_with_nothing_fetched(full, pulled):
    clone = pulled("none")
    set_policy(clone, "append")
    message = script(clone, "make_data")
    assert message.startswith(f"{SAID}bins: ") and "end of text: append" in message
    assert same(clone, full["append"], "tokens", "vocabulary")
    assert not (clone / "data/sample/raw").exists()
    assert script(clone, "make_data").startswith("nothing to do")
    set_policy(clone, "none")
    message = script(clone, "make_data")
    assert "tokenize:" not in message and "download:" not in message
    assert same(clone, full["none"]) and git(clone, "diff", "--name-only", "dvc.lock") == ""


def test_pulled_bins_with_end_of_text_become_those_without_and_the_other_way_round(full, pulled):
    clone = pulled("append")
    set_policy(clone, "none")
    assert script(clone, "make_data").startswith(SAID)
    assert same(clone, full["none"], "tokens", "vocabulary")
    shutil.rmtree(clone / "data/sample/tokens")  # a user short of disk space
    set_policy(clone, "prepend")
    assert script(clone, "make_data").startswith(SAID)
    truth = clone / "truth"
    truth.mkdir()
    write_bins(full["none"] / "data/sample/tokens", truth, "prepend")
    assert hashes(clone / "data/sample/bins") == hashes(truth)


@pytest.mark.parametrize("name", ["train.bin", "validation.docs.npy", "manifest.json"])
@pytest.mark.parametrize("policy", ["none", "append"])
def test_a_flipped_bit_in_the_bins_is_found_and_nothing_is_kept(pulled, monkeypatch, policy, name):
    monkeypatch.chdir(pulled(policy))
    folder = Path("data/sample")
    content = bytearray((folder / "bins" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "bins" / name).unlink()  # it may be a link
    (folder / "bins" / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        restore(folder, {"kind": "generated"}, Path("dvc.lock"))
    assert re.search("corrupt|damaged", one_line(error))
    assert not (folder / "tokens").exists() and not list(folder.glob("*.tmp"))


def test_damaged_bins_are_made_again_from_the_source(full, pulled):
    clone = pulled("none")
    (clone / "data/sample/bins/train.bin").write_bytes(bytes(2 * 15_455))
    set_policy(clone, "append")
    assert script(clone, "make_data").startswith("download:")
    assert same(clone, full["append"], "raw", "tokens", "vocabulary")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # DVC's own
@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("slm/text/stories.py", "import ", "import  "),
        ("slm/text/blocks.py", "import ", "import  "),
        ("params.yaml", "seed: 1337", "seed: 1338"),
        ("params.yaml", "encoding: gpt2", "encoding: r50k_base"),
        ("data/sample/source/.gitkeep", "", "x"),
        ("dvc.lock", "tokenize@sample", "tokenize"),
    ],
)
def test_where_an_earlier_stage_has_something_to_do_the_source_is_asked(
    pulled, monkeypatch, file, old, new
):
    monkeypatch.chdir(pulled("none"))
    assert todo("sample") == set()
    text = Path(file).read_text()
    Path(file).write_text(text.replace(old, new, 1))
    assert not todo("sample") <= {"bins", "describe"}


# `make data`, killed when a folder is whole and has not its name yet.
KILLED = """
import os, runpy, signal, sys
import slm.core.files
out, replace = sys.argv.pop(), slm.core.files._replace
def killed(temporary, folder):
    if folder.name == out:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(temporary, folder)
slm.core.files._replace = killed
runpy.run_module("scripts.make_data", run_name="__main__")
"""


def test_a_kill_while_tokens_come_back_leaves_nothing_that_counts(full, pulled):
    clone = pulled("append")
    set_policy(clone, "none")
    words = [sys.executable, "-c", KILLED, "tokens"]
    done = subprocess.run(words, cwd=clone, env=environment(clone), check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (clone / "data/sample/tokens").exists()
    assert list((clone / "data/sample").glob("tokens.*.tmp"))
    assert script(clone, "make_data").startswith(SAID)
    assert same(clone, full["none"], "tokens", "vocabulary")
    assert not list((clone / "data/sample").glob("*.tmp"))


def test_bins_that_a_kill_took_away_are_made_from_the_tokens_that_came_back(
    full, pulled, monkeypatch
):
    clone = pulled("append")
    monkeypatch.chdir(clone)
    restore(Path("data/sample"), {"kind": "generated"}, Path("dvc.lock"))
    shutil.rmtree(clone / "data/sample/bins")  # as DVC does before a stage writes
    assert "download:" not in script(clone, "make_data")
    assert same(clone, full["append"], "tokens", "vocabulary")
