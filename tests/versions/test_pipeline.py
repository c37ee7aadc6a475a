"""The stages under DVC: the same bytes on every way, nothing done twice, nothing half done."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiktoken

from slm.bins.opening import open_bins
from slm.bins.writing.from_tokens import write_bins
from slm.tokens.token_files import make_tokens
from slm.tokens.vocabulary import load_encoding
from slm.versions.lock import folder_hash, locked_hash
from tests.helpers import as_kind, build
from tests.workspace import (
    EXCERPT,
    ROOT,
    add_dataset,
    commit,
    dvc,
    edit,
    environment,
    git,
    hashes,
    script,
    workspace,
)

SMALL = ("documents: {train: 5000, validation: 250}", "documents: {train: 60, validation: 8}")
# What the stages say first.
DONE = ("download", "audit", "select", "vocabulary", "tokenize", "bins", "describe")
FILES = ("train.bin", "train.docs.npy")  # of a split; the manifest names the source, too
STAGES = {
    "download": "raw",
    "make_vocabulary": "vocabulary",
    "tokenize_text": "tokens",
    "write_bins": "bins",
}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A workspace whose sample has 60 stories, not built yet."""
    folder = workspace(tmp_path)
    edit(folder / "params.yaml", *SMALL)
    return folder


@pytest.fixture(scope="module")
def built(small_sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose small sample was built; tests that share it leave its bins as they are."""
    return shutil.copytree(small_sample, tmp_path_factory.mktemp("built") / "clone", symlinks=True)


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    """A copy of the built workspace, to break."""
    return shutil.copytree(built, tmp_path / "copy", symlinks=True)


def test_rebuilding_the_sample_from_nothing_leaves_dvc_lock_unchanged(tmp_path):
    folder = workspace(tmp_path)
    (folder / "dvc.lock").unlink()
    said = script(folder, "make_data")
    assert [line.split(":")[0] for line in said.splitlines()[:7]] == [*DONE]
    shown = re.findall(r"^  (?:train|validation) .*", (ROOT / "README.md").read_text(), re.M)
    assert len(shown) == 2 and all(line in said for line in shown), "the README's own figures"
    assert git(folder, "status", "--porcelain") == ""
    assert (folder / "dvc.lock").read_bytes() == (ROOT / "dvc.lock").read_bytes()
    assert "every byte" in script(folder, "verify")


def test_a_second_make_data_does_nothing_and_says_so(built):
    before = {path: path.stat().st_mtime_ns for path in (built / "data").rglob("*")}
    assert script(built, "make_data").startswith("nothing to do: data/sample/bins is built")
    lock = built / "data" / ".lock"
    after = {path: path.stat().st_mtime_ns for path in (built / "data").rglob("*")}
    assert {**before, lock: 0} == {**after, lock: 0}


def test_dvc_repro_alone_does_what_make_data_does(small, built):
    dvc(small, "repro")
    assert hashes(small / "data/sample/bins") == hashes(built / "data/sample/bins")
    assert (small / "dvc.lock").read_text() == (built / "dvc.lock").read_text()
    assert "up to date" in dvc(small, "status", "dvc.yaml")
    assert script(small, "make_data").startswith("nothing to do")


def test_bins_that_are_gone_come_back_and_raw_text_is_not_needed(copy):
    whole = hashes(copy / "data/sample/bins")
    for name in ("raw", "tokens", "vocabulary"):
        (copy / "data/sample" / name).rename(copy / f"{name}.away")
    assert script(copy, "make_data").startswith("nothing to do")
    (copy / "data/sample/bins/train.bin").unlink()
    assert script(copy, "make_data").startswith("download")
    assert hashes(copy / "data/sample/bins") == whole


@pytest.mark.parametrize(("engine", "flags"), [
    ("gigatoken", ("--workers", "1")),
    ("gigatoken", ("--workers", "5")),
    ("gigatoken", ("--block-bytes", "700")),
    ("tiktoken", ("--workers", "2")),
    ("tiktoken", ("--workers", "5", "--block-bytes", "700")),
])  # fmt: skip
def test_no_byte_depends_on_workers_block_size_or_engine(built, tmp_path, flags, engine):
    other = workspace(tmp_path)
    for out in ("raw", "selection", "vocabulary"):
        (other / "data/sample" / out).symlink_to(built / "data/sample" / out)
    edit(other / "params.yaml", "engine: gigatoken", f"engine: {engine}")
    said = script(other, "tokenize_text", "sample", *flags)
    assert f"by {engine}" in said
    script(other, "write_bins", "sample")
    assert hashes(other / "data/sample/tokens") == hashes(built / "data/sample/tokens")
    assert hashes(other / "data/sample/bins") == hashes(built / "data/sample/bins")


def test_the_engine_is_no_reason_to_build_again(copy):
    edit(copy / "params.yaml", "engine: gigatoken", "engine: tiktoken")
    assert script(copy, "make_data").startswith("nothing to do")


def test_bins_stay_links_to_the_tokens_and_dvc_s_cache_has_a_copy(copy):
    for made in ("data/sample/tokens", "data/sample/bins", ".dvc/cache"):
        shutil.rmtree(copy / made)
    (copy / "dvc.lock").unlink()
    script(copy, "make_data")
    bin_ = copy / "data/sample/bins/train.bin"
    assert bin_.samefile(copy / "data/sample/tokens/train.ids") and bin_.stat().st_nlink == 2
    cached = [path for path in (copy / ".dvc/cache/files").rglob("*") if path.is_file()]
    assert bin_.read_bytes() in [path.read_bytes() for path in cached]


def test_end_of_text_is_changed_without_tokenizing_again(copy):
    edit(copy / "params.yaml", "end_of_text: none", "end_of_text: append")
    said = script(copy, "make_data")
    assert "tokenize:" not in said and "end of text: append" in said
    ids = open_bins(copy / "data/sample/bins").ids("train")
    assert np.count_nonzero(ids == 50_256) == 60


def test_bins_are_cut_into_shards_and_joined_again_from_what_is_there(copy):
    lock, bins = (copy / "dvc.lock").read_bytes(), copy / "data/sample/bins"
    before = hashes(bins)
    edit(copy / "params.yaml", "shard_tokens: null", "shard_tokens: 2000")
    said = script(copy, "make_data")
    assert "tokenize:" not in said and "end of text: none, shards of 2,000 tokens" in said
    shard = sorted(bins.glob("train-*.docs.npy"))[1]
    assert len(open_bins(bins).ids("train")[1990:2010]) == 20  # of two shards
    assert script(copy, "make_data").startswith("nothing to do")
    commit(copy)
    shard.unlink()
    shard.write_bytes(b"other")
    assert f"{shard.relative_to(copy)} has 5 bytes" in script(copy, "verify", fails=True)
    script(copy, "verify", "--fix")
    assert len(open_bins(bins, verify=True).docs("train")) == 61
    for made in ("raw", "tokens"):
        shutil.rmtree(copy / "data/sample" / made)
    edit(copy / "params.yaml", "shard_tokens: 2000", "shard_tokens: null")
    assert "restored from the bins, nothing fetched" in script(copy, "make_data")
    assert hashes(bins) == before and (copy / "dvc.lock").read_bytes() == lock


# Each stage is killed where a crash would hurt most: its files are written, its name is not given.
KILLED = """
import os, runpy, signal, sys
import slm.core.files
slm.core.files._replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
sys.argv = sys.argv[1:]
runpy.run_module(f"scripts.{sys.argv[0]}", run_name="__main__")
"""


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_killed_before_its_rename_leaves_nothing_that_counts(built, copy, stage):
    folder, out = copy / "data/sample", STAGES[stage]
    (folder / out).rename(folder / f"{out}.before")
    words = [sys.executable, "-c", KILLED, stage, "sample"]
    done = subprocess.run(words, cwd=copy, env=environment(copy), check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (folder / out).exists() and list(folder.glob(f"{out}.*.tmp"))
    script(copy, "make_data")
    assert hashes(folder / "bins") == hashes(built / "data/sample/bins")
    script(copy, stage, "sample")
    assert not list(folder.glob("*.tmp")), "what a killed process left is removed by the next"


HOLDS = """
import sys
from pathlib import Path
from slm.core.locking import only_one
with only_one(Path('data/.lock'), 'make data'):
    print('held', flush=True)
    sys.stdin.read()
"""


def test_two_at_once_and_the_second_says_who_is_at_work(built):
    words = [sys.executable, "-c", HOLDS]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, cwd=built, env=environment(built), **pipes) as holder:
        assert holder.stdout.readline() == b"held\n"
        said = script(built, "make_data", fails=True)
        holder.stdin.close()
    assert f"`make data` (process {holder.pid}) is at work here" in said
    assert script(built, "make_data").startswith("nothing to do")


def test_a_file_edited_added_or_removed_is_noticed_by_make_data_and_by_dvc(small):
    source = add_dataset(small, "mine", 'column: text\nfiles: {train: ["*.jsonl"]}')
    (source / "a.jsonl").write_text('{"text": "one"}\n')
    assert "1 documents" in script(small, "make_data", "mine")
    (source / "b.jsonl").write_text('{"text": "two"}\n{"text": "three"}\n')
    assert "3 documents" in script(small, "make_data")
    (source / "a.jsonl").write_text('{"text": "one"}\n{"text": "1b"}\n')
    assert "4 train documents" in dvc(small, "repro")
    (source / "b.jsonl").unlink()
    assert "2 train documents" in dvc(small, "repro")
    assert script(small, "make_data").startswith("nothing to do")


def test_switching_there_and_back_computes_nothing_and_is_one_line_of_params(copy):
    source = add_dataset(copy, "mine", "files: {train: [a.txt]}")
    (source / "a.txt").write_text("Once there was a file.")
    commit(copy)
    assert "built data/mine/bins" in script(copy, "make_data", "mine")
    assert "dataset: mine " in (copy / "params.yaml").read_text()
    assert script(copy, "make_data", "sample").startswith("nothing to do")
    assert git(copy, "diff", "--name-only") == "dvc.lock\n"
    assert script(copy, "make_data", "mine").startswith("nothing to do")


def test_a_failed_build_leaves_params_saying_what_was_built(small):
    source = add_dataset(small, "mine", "files: {train: [a.jsonl]}")
    (source / "a.jsonl").write_text('{"text": "one"}\n{"text": null}\n')
    said = script(small, "make_data", "mine", fails=True)
    assert said.startswith("error: train: row 2 of a.jsonl has null in 'text'")
    assert "dataset: sample " in (small / "params.yaml").read_text()
    assert "no folder" in script(add_nothing(small), "make_data", "gone", fails=True)


def add_nothing(folder: Path) -> Path:
    add_dataset(folder, "gone", "files: {train: [a.jsonl]}").rmdir()
    return folder


RESULT = """
import json
from pathlib import Path
Path("benchmark/results").mkdir(exist_ok=True)
Path("benchmark/results/toy.json").write_text(json.dumps({"batches": {"1x2": {"us": 3.5}}}))
print("last line")
"""


def test_a_dvc_lock_amid_a_merge_is_said_with_its_cure_and_nothing_is_built(copy):
    for torn in ("<<<<<<< ours\n", ""):
        (copy / "dvc.lock").write_text(torn)
        said = script(copy, "make_data", fails=True)
        assert "dvc.lock cannot be read; amid a merge `make data` settles it; else `rm" in said
        assert (copy / "dvc.lock").read_text() == torn


def test_the_benchmark_s_stage_runs_alone_and_leaves_the_data_as_built(copy):
    (copy / "scripts/benchmark.py").write_text(RESULT)
    (copy / "data/sample/raw").rename(copy / "raw.away")
    command = ("repro", "-q", "-s", "-f", "benchmark/dvc.yaml")
    assert dvc(copy, *command) == dvc(copy, *command) == "last line\n"
    assert not (copy / "data/sample/raw").exists(), "the stages before it were not run"
    assert script(copy, "make_data").startswith("nothing to do")
    (copy / "raw.away").rename(copy / "data/sample/raw")
    edit(copy / "params.yaml", "batch_size: 64", "batch_size: 32")
    assert "benchmark@sample" in dvc(copy, "status", "benchmark/dvc.yaml")
    assert "up to date" in dvc(copy, "status", "dvc.yaml")
    assert "up to date" in dvc(copy, "repro")
    words = ("metrics", "diff", "--json", "-R", "--targets", "benchmark/results")
    found = json.loads(dvc(copy, *words))
    assert found["benchmark/results/toy.json"]["batches.1x2.us"]["new"] == 3.5


def test_verify_finds_what_was_damaged_and_what_is_another_version(copy):
    bins = copy / "data/sample/bins"
    whole = (bins / "train.bin").read_bytes()
    (bins / "train.bin").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    said = script(copy, "verify", fails=True)
    assert "train.bin differs in chunk 0" in said and "`make verify DATASET=sample FIX=1`" in said
    assert "every byte" in script(copy, "verify", "--fix")
    edit(copy / "params.yaml", "end_of_text: none", "end_of_text: append")
    script(copy, "write_bins", "sample")
    assert "another version of the bins" in script(copy, "verify", fails=True)


def test_our_hash_of_a_folder_is_dvc_s(built):
    names = sorted(path.name for path in (built / "data/sample/bins").iterdir())
    found = folder_hash(built / "data/sample/bins", names)
    assert found == locked_hash(built / "dvc.lock", "bins@sample", "data/sample/bins")


def test_inspect_shows_documents_by_number_by_token_and_at_random(built):
    stories = [
        json.loads(line)["text"]
        for line in (built / "data/sample/raw/train-00000-of-00001.jsonl").open()
    ]
    assert stories[7] in script(built, "inspect_bins", "--document", "7")
    start = int(open_bins(built / "data/sample/bins").docs("train")[8, 0])
    assert "document 7:" in script(built, "inspect_bins", "--token", str(start - 1))
    said = script(built, "inspect_bins", "--token", str(start))
    assert "document 8:" in said and "row 9 of stories" in said
    random = script(built, "inspect_bins", "--random", "3", "--seed", "5")
    assert random == script(built, "inspect_bins", "--random", "3", "--seed", "5")
    assert random.count("--- train document") == 3
    assert "0 to 59" in script(built, "inspect_bins", "--document", "60", fails=True)


@pytest.mark.skipif(not EXCERPT.is_dir(), reason="needs ../shared/tinystories")
def test_the_real_excerpt_has_tiktoken_s_ids_document_by_document(small):
    source = add_dataset(
        small, "real", "column: text\nfiles: {train: [train.jsonl], validation: [validation.jsonl]}"
    )
    source.rmdir()
    source.symlink_to(EXCERPT)
    assert "1,000 documents" in script(small, "make_data", "real")
    encoding, bins = tiktoken.get_encoding("gpt2"), open_bins(small / "data/real/bins")
    for split, rows in (("train", 1000), ("validation", 97)):
        texts = [json.loads(line)["text"] for line in (EXCERPT / f"{split}.jsonl").open()]
        ids, docs = bins.ids(split), bins.docs(split)
        assert len(texts) == rows == len(docs) - 1
        for i, text in enumerate(texts):
            expected = encoding.encode_ordinary(text)
            assert ids[docs[i, 0] : docs[i + 1, 0]].tolist() == expected


@pytest.mark.parametrize("kind", [".jsonl.gz", ".parquet"])
def test_two_kinds_of_files_of_the_same_rows_give_the_same_bins(tmp_path, kind):
    texts = ["One.", "", "Two “quoted”\u2028words.", "Three."]
    one, other = (bins_of(tmp_path / k[1:], f"a{k}", as_kind(k, texts)) for k in (".jsonl", kind))
    assert {name: one[name] for name in FILES} == {name: other[name] for name in FILES}


def bins_of(folder: Path, file: str, content: bytes) -> dict[str, str]:
    """The hashes of the bins that come of one source file."""
    raw = build(folder, {file: content})
    for name in ("tokens", "bins"):
        (folder / name).mkdir()
    make_tokens(raw, load_encoding("gpt2"), folder / "tokens", "gigatoken", 1)
    write_bins(folder / "tokens", folder / "bins", "append")
    return hashes(folder / "bins")
