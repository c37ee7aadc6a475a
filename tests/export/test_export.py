"""Facts about exports: each layout as it is stated, by an independent reading; links, refusals,
reruns and kills.
"""

import csv
import gzip
import json
import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slm.bins.opening import Bins, open_bins
from slm.bins.writing.from_tokens import write_bins
from slm.export.exporting import FORMATS, NOTE, export, verify
from slm.export.parts import Options
from slm.tokens.published import load_encoding
from slm.tokens.token_files import in_turn, tokens_in_units
from slm.tokens.tokenizer import encoder
from slm.tokens.units.making import Work
from tests.helpers import NASTY, build, json_lines, one_line
from tests.workspace import EXCERPT, environment, hashes

TRAIN = [f"{text} {i}" * (i % 5) for i in range(30) for text in NASTY]
HELD = [f"held {i}. {text}" for i, text in enumerate(NASTY)]
NONE = Options()
POLICIES = {"nanogpt": "none", "olmo": "append", "llmc": "prepend"}


def bins_of(
    folder: Path, encoding: str, policy: str, shard_tokens=None, splits=2, texts=None, by_split=None
) -> Bins:
    """Bins of TRAIN and HELD, of the texts in a folder, or of these by split."""
    contents = {"train.jsonl": json_lines(TRAIN), "held.jsonl": json_lines(HELD)}
    if texts is not None:
        names = {"train.jsonl": "train.jsonl", "held.jsonl": "validation.jsonl"}
        contents = {name: (texts / of).read_bytes() for name, of in names.items()}
    files = {"train": ["train.jsonl"], "validation": ["held.jsonl"]}
    files = dict(list(files.items())[:splits])
    if by_split is not None:
        contents = {f"{split}.jsonl": json_lines(own) for split, own in by_split.items()}
        files = {split: [f"{split}.jsonl"] for split in by_split}
    raw, known = build(folder, contents, files=files), load_encoding(encoding)
    (folder / "tokens").mkdir()
    (folder / "bins").mkdir()
    work = Work(raw, known, encoder("tiktoken", known), 2, 2**16)

    def make(units, below):
        in_turn(work, units, below)

    tokens_in_units(raw, known, folder / "tokens", folder / "units", None, make)
    write_bins(folder / "tokens", folder / "bins", policy, shard_tokens=shard_tokens)
    return open_bins(folder / "bins")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Bins by encoding, policy and shard size, each made once."""
    known: dict[tuple, Bins] = {}

    def get(encoding="gpt2", policy="append", shard_tokens=None, splits=2) -> Bins:
        key = (encoding, policy, shard_tokens, splits)
        if key not in known:
            known[key] = bins_of(tmp_path_factory.mktemp("bins"), *key)
        return known[key]

    return get


def documents(bins: Bins, split: str) -> list[list[int]]:
    """The documents of a split, from the arrays."""
    ids, ends = np.asarray(bins.ids(split)[:]), bins.docs(split)[:, 0].tolist()
    return [ids[a:b].tolist() for a, b in pairwise(ends)]


def flat(parts: list[list[int]]) -> list[int]:
    return [number for part in parts for number in part]


def cut(values: np.ndarray, ends: list[int]) -> list[list[int]]:
    starts = [0, *ends[:-1]]
    return [values[a:b].tolist() for a, b in zip(starts, ends, strict=True)]


# ---- an independent reading of each layout: documents where it has them, else ids ----


def read_nanogpt(out: Path, bins: Bins, split: str) -> list[int]:
    name = {"train": "train.bin", "validation": "val.bin"}[split]
    return np.memmap(out / name, "<u2", "r").tolist()


def read_llmc(out: Path, bins: Bins, split: str) -> list[int]:
    found: list[int] = []
    called = {"train": "train", "validation": "val"}[split]
    for path in sorted(out.glob(f"mine_{called}_*.bin")):
        content = path.read_bytes()
        magic, version, tokens = struct.unpack("<3i", content[:12])
        assert content[12:1024] == bytes(1012)
        assert (magic, version) in ((20240520, 1), (20240801, 7))
        width = 2 if version == 1 else 4
        assert len(content) == 1024 + width * tokens
        found += np.frombuffer(content[1024:], f"<u{width}").tolist()
    return found


def read_megatron(out: Path, bins: Bins, split: str) -> list[list[int]]:
    index = (out / f"{split}.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, sequences, count = struct.unpack("<QBQQ", index[9:34])
    assert (version, count) == (1, sequences + 1)
    dtype = {8: "<u2", 4: "<i4"}[code]
    lengths = np.frombuffer(index, "<i4", sequences, 34)
    pointers = np.frombuffer(index, "<i8", sequences, 34 + 4 * sequences)
    order = np.frombuffer(index, "<i8", count, 34 + 12 * sequences)
    assert len(index) == 34 + 12 * sequences + 8 * count
    assert order.tolist() == [*range(count)]
    content = (out / f"{split}.bin").read_bytes()
    pairs = zip(lengths.tolist(), pointers.tolist(), strict=True)
    return [np.frombuffer(content, dtype, size, at).tolist() for size, at in pairs]


def read_datatrove(out: Path, bins: Bins, split: str) -> list[list[int]]:
    ends = np.fromfile(out / f"{split}.ds.index", "<u8").tolist()
    name, tokens, _ = (out / f"{split}.ds.metadata").read_text().split("\n")
    width = int(name.rpartition("|")[2])
    values = np.fromfile(out / f"{split}.ds", f"<u{width}")
    assert len(values) == int(tokens)
    return cut(values, ends)


def read_olmo(out: Path, bins: Bins, split: str) -> list[list[int]]:
    values = np.fromfile(out / f"{split}.npy", f"<u{np.dtype(bins.manifest['dtype']).itemsize}")
    with gzip.open(out / f"{split}.csv.gz", "rt", newline="") as file:
        rows = list(csv.reader(file))
    assert [row[2] for row in rows] == [f"{split}/{i}" for i in range(len(rows))]
    file = {"train": "train.jsonl", "validation": "held.jsonl"}[split]
    assert [row[3:] for row in rows] == [[file, str(i + 1)] for i in range(len(rows))]
    return [values[int(row[0]) : int(row[1])].tolist() for row in rows]


def read_litdata(out: Path, bins: Bins, split: str) -> list[int]:
    index, found = json.loads((out / split / "index.json").read_bytes()), list[int]()
    (form,) = index["config"]["data_format"]
    dtype = {"no_header_tensor:20": "<u2", "no_header_tensor:15": "<i4"}[form]
    for chunk in index["chunks"]:
        content = (out / split / chunk["filename"]).read_bytes()
        assert len(content) == chunk["chunk_bytes"]
        assert struct.unpack("<3I", content[:12]) == (1, 12, len(content))
        values = np.frombuffer(content[12:], dtype)
        assert len(values) == chunk["dim"]
        found += values.tolist()
    return found


def read_arrow(out: Path, bins: Bins, split: str) -> list[list[int]]:
    with pa.OSFile(str(out / f"{split}.arrow")) as file:
        return pa.ipc.open_stream(file).read_all()["input_ids"].to_pylist()


READERS = {
    "nanogpt": read_nanogpt,
    "llmc": read_llmc,
    "megatron": read_megatron,
    "datatrove": read_datatrove,
    "olmo": read_olmo,
    "litdata": read_litdata,
    "arrow": read_arrow,
}


@pytest.mark.parametrize("shard_tokens", [None, 400])
@pytest.mark.parametrize("policy", ["none", "append"])
@pytest.mark.parametrize("encoding", ["gpt2", "cl100k_base"])
@pytest.mark.parametrize("to", READERS)
def test_an_export_is_these_bins_by_its_layout(made, tmp_path, to, encoding, policy, shard_tokens):
    bins = made(encoding, policy, shard_tokens)
    if (to, encoding) == ("nanogpt", "cl100k_base") or (to, policy) == ("olmo", "none"):
        with pytest.raises(ValueError, match=r"tokenizer\.encoding|set it to append") as error:
            export(bins, to, tmp_path / "out", NONE)
        one_line(error)
        return
    options = Options(shard_tokens=300) if to in ("llmc", "litdata") else NONE
    exported = export(bins, to, tmp_path / "out", options)
    for split in bins.manifest["splits"]:
        found, expected = READERS[to](tmp_path / "out", bins, split), documents(bins, split)
        assert found == (expected if isinstance(found[0], list) else flat(expected))
    verify(bins, to, tmp_path / "out", options)
    links = [made.name for made in exported.files if made.how == "linked"]
    if shard_tokens is None and to in ("nanogpt", "megatron", "datatrove", "olmo"):
        inodes = {(tmp_path / "out" / name).stat().st_ino for name in links}
        splits = bins.manifest["splits"]
        assert inodes == {(bins.folder / f"{split}.bin").stat().st_ino for split in splits}
    else:
        assert links == []


@pytest.mark.parametrize("policy", ["none", "append", "prepend"])
@pytest.mark.parametrize("shard_tokens", [None, 400])
def test_webtext_is_the_text(made, tmp_path, policy, shard_tokens, monkeypatch):
    monkeypatch.setattr("slm.export.webtext.ROWS", 50)
    monkeypatch.setattr("slm.export.webtext.SHARD_BYTES", 4000)
    export(made("gpt2", policy, shard_tokens), "webtext", tmp_path / "out", NONE)
    shards = sorted((tmp_path / "out").glob("*.parquet"))
    texts = [pq.read_table(path)["text"].to_pylist() for path in shards]
    assert flat(texts[:-1]) == TRAIN
    assert texts[-1] == HELD
    assert len(texts) > 3
    assert pq.ParquetFile(shards[0]).metadata.row_group(0).num_rows == 50
    for name, expected in (("train", TRAIN), ("validation", HELD)):
        path = tmp_path / "out" / name / f"{name}.chunk.00.jsonl"
        lines = path.read_bytes().split(b"\n")[:-1]
        assert [json.loads(line) for line in lines] == [{"text": text} for text in expected]
    verify(made("gpt2", policy, shard_tokens), "webtext", tmp_path / "out", NONE)


def test_another_vocabulary_is_named_to_nanogpt(made, tmp_path):
    export(made("bytes"), "nanogpt", tmp_path / "a", NONE)
    content = (tmp_path / "a/meta.pkl").read_bytes()
    assert pickle.loads(content) == {"vocab_size": made("bytes").vocab_size}  # noqa: S301 - ours
    export(made("gpt2"), "nanogpt", tmp_path / "b", NONE)
    assert not (tmp_path / "b/meta.pkl").exists()


# ---- llm.c and modded-nanogpt ----


def test_of_a_train_split_alone_the_first_shard_is_the_validation_one(made, tmp_path):
    """As llm.c's script for FineWeb writes it: one stream, cut wherever a shard is full."""
    bins = made("gpt2", "prepend", None, 1)
    export(bins, "llmc", tmp_path / "out", Options("modded", 500))
    stream, expected = flat(documents(bins, "train")), {}
    for number, first in enumerate(range(0, len(stream), 500)):
        part = stream[first : first + 500]
        called = "train" if number else "val"
        head = struct.pack("<256i", 20240520, 1, len(part), *[0] * 253)
        expected[f"fineweb_{called}_{number:06d}.bin"] = head + struct.pack(f"<{len(part)}H", *part)
    found = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.bin")}
    assert found == expected
    assert len(found) > 3
    verify(bins, "llmc", tmp_path / "out", Options("modded", 500))


def test_bytes_per_token_stand_beside_the_shards(made, tmp_path):
    bins = made("gpt2", "append")
    export(bins, "llmc", tmp_path / "out", Options(shard_tokens=600, token_bytes=True))
    table = np.fromfile(tmp_path / "out/token_bytes.bin", np.uint8)
    assert table.tolist() == bins.token_bytes.tolist()
    found = b"".join(p.read_bytes() for p in sorted((tmp_path / "out").glob("*train*.bytes")))
    assert list(found) == table[np.asarray(bins.ids("train"))].tolist()
    assert sum(found) == bins.manifest["splits"]["train"]["text_bytes"]


REFUSED = {
    "uint32 to nanoGPT": ("nanogpt", "cl100k_base", "append", NONE, "at most 65,536 ids"),
    "none to OLMo-core": ("olmo", "gpt2", "none", NONE, "bins.end_of_text is none"),
    "prepend to OLMo-core": ("olmo", "gpt2", "prepend", NONE, "bins.end_of_text is prepend"),
    "none to modded": ("llmc", "gpt2", "none", Options("modded", 500), "set it to prepend"),
    "append to modded": ("llmc", "gpt2", "append", Options("modded", 500), "set it to prepend"),
    "one shard to modded": ("llmc", "gpt2", "prepend", Options("modded"), "smaller SHARD_TOKENS="),
    "another reader": ("llmc", "gpt2", "none", Options("keras"), "expected modded"),
    "uint32 to modded": ("llmc", "o200k_base", "prepend", Options("modded", 500), "GPT-2's ids"),
    "bytes to modded": ("llmc", "bytes", "prepend", Options("modded", 500), "GPT-2's ids alone"),
    "long shards": ("llmc", "gpt2", "none", Options(shard_tokens=2**31), "less than 2^31"),
    "long chunks": ("litdata", "gpt2", "none", Options(shard_tokens=2**31), "smaller SHARD_TOKENS"),
    "another format": ("tfrecord", "gpt2", "none", NONE, "expected one of nanogpt, llmc"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_reader_would_misread_is_refused(made, tmp_path, what):
    to, encoding, policy, options, expected = REFUSED[what]
    with pytest.raises(ValueError, match=expected.replace("^", r"\^")) as error:
        export(made(encoding, policy), to, tmp_path / "out", options)
    one_line(error)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("to", ["megatron", "arrow"])
def test_documents_that_are_too_long_are_refused(made, tmp_path, monkeypatch, to):
    monkeypatch.setattr(f"slm.export.{to}.longest", lambda *_: 2**31)
    with pytest.raises(ValueError, match="2,147,483,648 tokens"):
        export(made(), to, tmp_path / "out", NONE)


def test_lossy_bins_are_no_text(made, tmp_path):
    bins = made()
    lossy = bins._replace(manifest={**bins.manifest, "lossy_documents": {"train": 2}})
    with pytest.raises(ValueError, match="the ids of 2 documents do not give their text back"):
        export(lossy, "webtext", tmp_path / "out", NONE)


# ---- the folder ----


@pytest.mark.parametrize("to", FORMATS)
def test_a_rerun_does_nothing_and_other_bins_replace(made, tmp_path, to):
    policy = POLICIES.get(to, "append")
    out, bins, options = tmp_path / "out", made("gpt2", policy), NONE
    assert export(bins, to, out, NONE).new
    before = {path: path.stat().st_ino for path in out.rglob("*")}
    again = export(bins, to, out, NONE)
    assert not again.new
    assert {path: path.stat().st_ino for path in out.rglob("*")} == before
    note = (out / NOTE).read_text()
    assert note.startswith(f"{bins.version}\nend of text: {policy}\n")
    assert f"made by: make export TO={to} DATASET=mine\n" in note
    for made_ in again.files:
        assert f" {(out / made_.name).stat().st_size} {made_.name}\n" in note
    victim = max(out.rglob("*.*"), key=lambda path: path.stat().st_size)
    victim.unlink()
    assert export(bins, to, out, NONE).new
    other = made("bytes", policy)
    assert export(other, to, out, NONE).new
    verify(other, to, out, options)


def test_the_same_bins_give_the_same_bytes(made, tmp_path):
    for to in FORMATS:
        policy = POLICIES.get(to, "append")
        for name in ("a", "b"):
            export(made("gpt2", policy), to, tmp_path / name / to, NONE)
            time.sleep(0.01)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


def test_what_is_no_export_is_left_alone(made, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="is there and no export; choose another OUT="):
        export(made(), "datatrove", tmp_path / "a", NONE)
    export(made(), "datatrove", tmp_path / "b", NONE)
    (tmp_path / "b/mine.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"mine\.txt is not of the export"):
        export(made("bytes"), "datatrove", tmp_path / "b", NONE)
    assert (tmp_path / "b/mine.txt").read_text() == "mine"
    (tmp_path / "c").write_text("a file")
    with pytest.raises(ValueError, match="is there and no export"):
        export(made(), "datatrove", tmp_path / "c", NONE)
    (tmp_path / "d").mkdir()  # empty, as a user may have made it
    assert export(made(), "datatrove", tmp_path / "d", NONE).new


@pytest.mark.parametrize("to", FORMATS)
def test_damage_is_found_when_it_is_read_back(made, tmp_path, to):
    bins, out, options = made("gpt2", POLICIES.get(to, "append")), tmp_path / "out", NONE
    export(bins, to, out, NONE)
    kinds = {"webtext": "*/*.jsonl", "litdata": "*/chunk*", "olmo": "*.npy", "datatrove": "*.index"}
    kinds |= {"megatron": "*.idx", "arrow": "*.arrow"}
    (path, *_) = sorted(out.glob(kinds.get(to, "*train*.bin")))
    content = bytearray(path.read_bytes())
    place = 60 if to == "megatron" else len(content) // 2
    content[place] ^= 1
    path.unlink()  # it may be a link
    path.write_bytes(content)
    with pytest.raises((ValueError, pa.ArrowInvalid)):
        verify(bins, to, out, options)


def test_another_disk_gets_a_copy(made, tmp_path):
    other = Path("/dev/shm")  # noqa: S108 - a disk of its own
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs /dev/shm on a disk of its own")
    out = other / f"slm-export-{os.getpid()}"
    try:
        exported = export(made(), "datatrove", out, NONE)
        assert {made.how for made in exported.files} == {"copied", "written"}
        verify(made(), "datatrove", out, NONE)
    finally:
        shutil.rmtree(out, ignore_errors=True)


# ---- the command ----


def command(folder: Path, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.export", *words],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_exports_says_so_and_refuses_what_has_no_meaning(small_sample, tmp_path):
    folder = tmp_path / "clone"
    shutil.copytree(small_sample, folder, symlinks=True)
    said, error = command(folder, "--to", "megatron", "--verify").communicate()
    assert "exported to data/sample/export/megatron: 4 files, 2 of them linked" in said, error
    assert "read back, and the same" in said
    said, _ = command(folder, "--to", "megatron").communicate()
    assert said.startswith("nothing to do: data/sample/export/megatron")
    out = tmp_path / "elsewhere"
    said, _ = command(folder, "--to", "arrow", "--out", str(out)).communicate()
    assert f"exported to {out}" in said
    for words, why in (
        (["--to", "keras"], "TO is 'keras', expected one of nanogpt"),
        ([], "TO is '', expected one of nanogpt"),
        (["--to", "arrow", "--shard-tokens", "5"], "SHARD_TOKENS is of llmc and litdata"),
        (["--to", "olmo", "--token-bytes"], "BYTES is of llmc"),
    ):
        run = command(folder, *words)
        _, error = run.communicate()
        assert run.returncode == 1
        assert why in error
        assert error.count("\n") == 1


def test_killed_at_any_moment_a_rerun_is_whole(small_sample, tmp_path):
    folder = tmp_path / "clone"
    shutil.copytree(small_sample, folder, symlinks=True)
    out = folder / "data/sample/export/webtext"
    for wait in (0.3, 0.5, 0.6, 0.7, 0.8):
        run = command(folder, "--to", "webtext")
        time.sleep(wait)
        run.send_signal(signal.SIGKILL)
        run.communicate()
        assert not out.exists() or (out / NOTE).exists()  # whole or not there
    said, error = command(folder, "--to", "webtext", "--verify").communicate()
    assert "read back, and the same" in said, error
    assert [path.name for path in out.parent.iterdir()] == ["webtext"]


@pytest.mark.parametrize("to", FORMATS)
def test_real_stories_come_back_from_each_format(tmp_path, to):
    if not EXCERPT.is_dir():
        pytest.skip("real stories are not part of the repository")
    bins = bins_of(tmp_path, "gpt2", POLICIES.get(to, "append"), texts=EXCERPT)
    export(bins, to, tmp_path / "out", NONE)
    verify(bins, to, tmp_path / "out", NONE)
    if to in READERS:
        found = READERS[to](tmp_path / "out", bins, "validation")
        expected = documents(bins, "validation")
        assert found == (expected if isinstance(found[0], list) else flat(expected))


def test_a_train_split_alone_is_refused_where_nothing_would_be_left(made, tmp_path):
    bins = made("gpt2", "append", None, 1)
    for to, expected in (("llmc", "smaller SHARD_TOKENS="), ("nanogpt", "holds one out")):
        with pytest.raises(ValueError, match=expected) as error:
            export(bins, to, tmp_path / to, NONE)
        one_line(error)
    export(bins, "webtext", tmp_path / "webtext", NONE)  # its last shard is the validation one
    texts = [
        pq.read_table(p)["text"].to_pylist()
        for p in sorted((tmp_path / "webtext").glob("*.parquet"))
    ]
    assert len(texts) == 2
    assert flat(texts) == TRAIN
    verify(bins, "webtext", tmp_path / "webtext", NONE)


@pytest.mark.parametrize("to", FORMATS)
def test_by_split_other_names_and_many_empty_documents_come_back(tmp_path, to):
    texts = {"train": [""] * 1200 + TRAIN[:50], "val": HELD, "train_b": TRAIN[:9]}
    bins = bins_of(tmp_path, "gpt2", POLICIES.get(to, "append"), by_split=texts)
    export(bins, to, tmp_path / "out", NONE)
    verify(bins, to, tmp_path / "out", NONE)


def test_zeros_in_the_parquet_are_found(made, tmp_path):
    export(made(), "webtext", tmp_path / "out", NONE)
    path = tmp_path / "out/shard_00000.parquet"
    content = bytearray(path.read_bytes())
    content[200:1200] = bytes(1000)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"the Parquet in .* does not give back"):
        verify(made(), "webtext", tmp_path / "out", NONE)


def test_a_link_cannot_be_written_by_mistake(made, tmp_path):
    export(made(), "datatrove", tmp_path / "out", NONE)
    assert (tmp_path / "out/train.ds").stat().st_mode & 0o222 == 0


def test_what_stands_beside_an_export_stays(made, tmp_path):
    for name in ("out.backup.tmp", "out.1.notes.tmp", "other.x.tmp"):
        (tmp_path / name).mkdir()
    export(made(), "datatrove", tmp_path / "out", NONE)
    export(made("bytes"), "datatrove", tmp_path / "out", NONE)
    (tmp_path / "o*").mkdir()
    export(made(), "arrow", tmp_path / "o*", NONE)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"out", "o*", "out.backup.tmp", "out.1.notes.tmp", "other.x.tmp"}


@pytest.mark.parametrize(
    "out", ["data/sample/bins/x", "data/sample", ".", "nothere/..", "data/sample/raw"]
)
def test_no_export_goes_among_the_files_of_a_dataset(small_sample, tmp_path, out):
    folder = tmp_path / "clone"
    shutil.copytree(small_sample, folder, symlinks=True)
    run = command(folder, "--to", "arrow", "--out", out)
    _, error = run.communicate()
    assert run.returncode == 1
    assert f"OUT={out} is no place for an export" in error
