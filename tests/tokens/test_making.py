"""Facts about where a tokenizer.json comes from: the hub, a file, and the bins after a pull."""

import shutil
import subprocess
import sys
from pathlib import Path

from slm.bins.opening import open_bins
from slm.tokens.from_file import FILE, FileTokenizer
from tests.hub_faults import FaultyHub
from tests.tokens.trained import byte_level
from tests.workspace import ROOT, edit, environment, hashes, script

# ---- the hub ----

FETCH = """
import sys
from slm.core.errors import run_main
from slm.tokens.making import make
from slm.tokens.vocabulary import describe
from slm.tokens.wanted import Wanted
def main():
    path, revision, sha256 = sys.argv[1:]
    asked = Wanted("file", path=path, revision=revision, sha256=sha256 or None)
    made = make(asked, None, None)
    assert describe(made)["source"] == f"{path}@{revision}"
    sys.stdout.write(made.content.decode())
run_main(main)
"""


def fetch(hub: FaultyHub, home: Path, revision: str, sha256: str = "", path: str = "a/model"):
    return subprocess.run(
        [sys.executable, "-c", FETCH, path, revision, sha256],
        env=environment(ROOT) | hub.environment(home), capture_output=True, text=True,
    )  # fmt: skip


def test_a_file_of_the_hub_is_fetched_once_where_it_is_pinned(tmp_path):
    with FaultyHub() as hub:
        commit = hub.publish("a/model", {FILE: byte_level().encode(), "README.md": b"#"})
        first = fetch(hub, tmp_path, commit)
        assert first.stdout == byte_level(), first.stderr
        sha256 = FileTokenizer(byte_level().encode()).sha256
        assert f"not pinned: `sha256: {sha256}` under `tokenizer`" in first.stderr
        hub.requests.clear()
        again = fetch(hub, tmp_path, commit, sha256)
        assert (again.stdout, again.stderr, hub.requests) == (byte_level(), "", [])
        other = fetch(hub, tmp_path, commit, "1" * 64)
        assert other.returncode == 1 and "write the other hash there" in other.stderr
        hub.requests.clear()
        assert fetch(hub, tmp_path, commit, sha256).stdout == byte_level()
        assert hub.requests == []  # a pin that is wrong has not cost the file in the cache


def test_what_the_hub_cannot_give_is_said_in_one_line(tmp_path):
    with FaultyHub() as hub:
        commit = hub.publish("a/model", {"README.md": b"#"})
        for done, said in (
            (fetch(hub, tmp_path, commit), f"a/model has no {FILE} at {commit}"),
            (fetch(hub, tmp_path, "f" * 40), f"(see {hub.endpoint}/a/model)"),
            (fetch(hub, tmp_path, commit, path="no/where"), f"(see {hub.endpoint}/no/where)"),
        ):
            assert done.returncode == 1 and said in done.stderr, done.stderr
            assert done.stderr.count("\n") == 1


def test_bytes_that_are_not_those_that_the_hub_lists_are_refused(tmp_path):
    """As a cache or a proxy may give them."""
    with FaultyHub() as hub:
        commit = hub.publish("a/model", {FILE: byte_level().encode()})
        assert fetch(hub, tmp_path, commit).returncode == 0
        (blob,) = tmp_path.rglob("blobs/*")
        blob.write_bytes(blob.read_bytes().replace(b"<|im_end|>", b"<|im_eNd|>"))
        done = fetch(hub, tmp_path, commit)
        assert done.returncode == 1 and "has the git hash" in done.stderr, done.stderr
        assert fetch(hub, tmp_path, commit).stdout == byte_level()


# ---- by the commands ----


def test_a_file_is_built_pinned_and_given_back_after_a_pull(small_sample, tmp_path):
    folder = shutil.copytree(small_sample, tmp_path / "copy", symlinks=True)
    params, path = folder / "params.yaml", folder / "own.json"
    path.write_text(byte_level())

    def ask(key: str, value: str, old: str = "null") -> None:
        edit(params, f"  {key}: {old} ", f"  {key}: {value} ")

    ask("encoding", "file", "gpt2")
    ask("file", "own.json")
    said = script(folder, "make_data", fails=True)
    assert "tokenizer.sha256 is null, expected that of own.json" in said
    ask("sha256", FileTokenizer(byte_level().encode()).sha256)
    edit(params, "  end_of_text: none ", "  end_of_text: append ")
    assert "tokenizer.end_of_text is null" in script(folder, "make_data", fails=True)
    ask("end_of_text", '"<|im_end|>"')
    said = script(folder, "make_data")
    assert "600 ids (BPE; gigatoken was compared: it gives the ids of tokenizers)" in said
    bins = open_bins(folder / "data/sample/bins", verify=True)
    assert bins.manifest["lossy_documents"] == {"train": 0, "validation": 0}
    shown = script(folder, "show")
    assert f"Tokenizer: {bins.manifest['tokenizer']['encoding']} (BPE), 600 ids" in shown
    assert "Lossless on all 60 train documents" in shown
    path.write_text(byte_level().replace("<|im_end|>", "<|im_eNd|>"))
    said = script(folder, "make_data", fails=True)
    assert "own.json has SHA-256" in said and "write the other hash there" in said
    # as after a pull: vocabulary and tokens come back from the bins, though the file is gone
    path.unlink()
    assert "nothing to do" in script(folder, "make_data")
    before = hashes(folder / "data/sample/tokens")
    for name in ("raw", "facts", "selection", "vocabulary", "tokens"):
        shutil.rmtree(folder / "data/sample" / name)
    edit(params, "  end_of_text: append ", "  end_of_text: none ")
    assert "restored from the bins, nothing fetched" in script(folder, "make_data")
    assert hashes(folder / "data/sample/tokens") == before
