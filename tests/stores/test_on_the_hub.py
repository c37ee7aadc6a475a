"""Facts about bins on a dataset of the hub: pushed with a card, pulled and verified as from any
remote, whatever was pushed after them.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_writes import WritableHub
from tests.workspace import commit, edit, git, hashes, script

REMOTE = "hf://datasets/somebody/stories"


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Iterator[WritableHub]:
    with WritableHub() as server:
        for name, value in server.environment(tmp_path / "home").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HF_TOKEN", "right")
        monkeypatch.setenv("SLM_STORE", str(tmp_path / "store"))
        server.publish("somebody/stories", {"README.md": b"empty"})
        yield server


@pytest.fixture
def clone(small_sample, tmp_path) -> Path:
    return shutil.copytree(small_sample, tmp_path / "clone", symlinks=True)


def test_bins_go_to_the_hub_and_come_back_equal(hub, clone, tmp_path):
    said = script(clone, "push", "--remote", REMOTE)
    assert f"pushed data/sample/bins to {REMOTE}: 7 files" in said
    assert ": 0 files" in script(clone, "push", "--remote", REMOTE)
    first = hashes(clone / "data/sample/bins")
    git(tmp_path, "clone", "-q", str(clone), str(tmp_path / "other"))
    edit(clone / "params.yaml", "end_of_text: none ", "end_of_text: append ")
    script(clone, "make_data")
    commit(clone)
    script(clone, "push", "--remote", REMOTE)  # another version, over the first

    other = tmp_path / "other"
    said = script(other, "pull", "--remote", REMOTE)
    assert "pulled data/sample/bins" in said
    assert hashes(other / "data/sample/bins") == first
    assert "every byte is as" in script(other, "verify")

    repository = hub.repositories["somebody/stories"]
    files = repository.commits[repository.refs["main"]]
    names = {name.removeprefix("sample/") for name in files if name.startswith("sample/")}
    assert names == {*first, "croissant.json"}
    card = files["README.md"].content.decode()
    assert "the end-of-text id after each document" in card
    tags = sorted(hub.tags["somebody/stories"])
    assert len(tags) == 2
    assert all(tag.startswith("sample-") for tag in tags)
    assert json.loads(files["sample/manifest.json"].content)["end_of_text"] == "append"


def test_an_export_goes_with_its_bins_or_after_them(hub, clone):
    said = script(clone, "push", "--remote", REMOTE, "--to", "litdata", fails=True)
    assert "`make export TO=litdata` makes one" in said
    assert "expected one of nanogpt" in script(
        clone, "push", "--remote", REMOTE, "--to", "../bins", fails=True
    )
    script(clone, "export", "--to", "litdata", "--shard-tokens", "300")
    script(clone, "push", "--remote", REMOTE, "--to", "litdata")
    script(clone, "export", "--to", "litdata")  # fewer chunks
    script(clone, "push", "--remote", REMOTE)
    script(clone, "push", "--remote", REMOTE, "--to", "litdata")
    repository = hub.repositories["somebody/stories"]
    files = repository.commits[repository.refs["main"]]
    made = clone / "data/sample/export/litdata"
    for path in made.rglob("*.*"):
        name = f"sample/export/litdata/{path.relative_to(made)}"
        assert files[name].content == path.read_bytes()
    assert "sample/train.bin" in files
    there = {name for name in files if name.startswith("sample/export/")}
    here = {str(path.relative_to(made)) for path in made.rglob("*.*")}
    assert there == {f"sample/export/litdata/{name}" for name in here}  # and none of before
    said = script(clone, "push", "--remote", "prebuilt", "--to", "litdata", fails=True)
    assert "prebuilt takes bins alone" in said


def test_what_the_hub_has_is_checked(hub, clone, tmp_path):
    script(clone, "push", "--remote", REMOTE)
    git(tmp_path, "clone", "-q", str(clone), str(tmp_path / "other"))
    repository = hub.repositories["somebody/stories"]
    for files in repository.commits.values():
        if "sample/train.bin" in files:
            content = bytearray(files["sample/train.bin"].content)
            content[5] ^= 1
            wrong = files["sample/train.bin"]
            hub.files[wrong.sha256] = type(wrong)(
                bytes(content), wrong.size, wrong.git, wrong.sha256, wrong.lfs
            )
    said = script(tmp_path / "other", "pull", "--remote", REMOTE, fails=True)
    assert "train.bin has other bytes than the manifest says" in said
    assert not (tmp_path / "other/data/sample/bins").exists()


def test_what_goes_wrong_is_one_line(hub, clone, monkeypatch, tmp_path):
    git(tmp_path, "clone", "-q", str(clone), str(tmp_path / "other"))
    said = script(tmp_path / "other", "pull", "--remote", REMOTE, fails=True)
    assert "has no tag sample-" in said and "`make push DATASET=sample REMOTE=" in said
    for remote, expected in {
        "hf://datasets/somebody/none": "make it at",
        "hf://datasets/somebody": "is no dataset of the hub; expected hf://datasets/owner/name",
        "hf://somebody/stories": "is no dataset of the hub",
    }.items():
        said = script(clone, "push", "--remote", remote, fails=True)
        assert expected in said
        assert said.count("\n") == 1
    monkeypatch.setenv("HF_TOKEN", "wrong")
    said = script(clone, "push", "--remote", REMOTE, fails=True)
    assert "the hub refuses a push of somebody/stories to you (HTTP 403)" in said
    assert said.count("\n") == 1
    edit(clone / "params.yaml", "seed: 1337\n    documents", "seed: 1338\n    documents")
    assert "not committed" in script(clone, "push", "--remote", REMOTE, fails=True)
