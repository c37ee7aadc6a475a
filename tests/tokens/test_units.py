"""Facts about units of work: cut by the source alone, made in any order, the same bytes after all.

Plans are compared with a slow reading of the rule, tokens and bins with those of a single unit.
"""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts import tokenize_text
from slm.bins.opening import open_bins
from slm.bins.to_tokens import write_tokens
from slm.bins.writing.from_tokens import write_bins
from slm.bins.writing.reading import groups
from slm.core.errors import UserError
from slm.core.formats import unit_name
from slm.text.blocks import read_blocks
from slm.text.units import Part, all_units
from slm.tokens.published import load_encoding
from slm.tokens.token_files import in_turn, tokens_in_units
from slm.tokens.tokenizer import encoder
from slm.tokens.units import identity, making
from slm.tokens.units.cluster import Cluster
from slm.tokens.units.orders import Order
from slm.versions.verify import _wrong_file
from tests.helpers import NASTY, build, json_lines, one_line, parquet, texts_of
from tests.workspace import ROOT, hashes

GPT2 = load_encoding("gpt2")
TEXTS = [f"{text} {i}" * (i % 7) for i in range(60) for text in NASTY]
CUT = 900  # bytes of text: some 20 units of TEXTS


def files(size: int = 3) -> dict[str, bytes]:
    third = len(TEXTS) // 3
    parts = TEXTS[:third], TEXTS[third : 2 * third], TEXTS[2 * third :]
    options = {"rows": 7 * size, "use_dictionary": False}
    return {f"{i}.parquet": parquet(part, **options) for i, part in enumerate(parts)}


@pytest.fixture(scope="module")
def ground(tmp_path_factory) -> Path:
    """raw/ of three Parquet files and a JSON Lines file, and tokens/ of them as single units."""
    folder = tmp_path_factory.mktemp("units")
    made = {"train": ["*.parquet"], "validation": ["held.jsonl"]}
    build(folder, files() | {"held.jsonl": json_lines(NASTY)}, files=made)
    tokens(folder, "tokens", None)
    return folder


def tokens(ground: Path, name: str, unit_bytes: int | None, kept: Path | None = None) -> Path:
    out, below = ground / name, kept or ground / f"{name}.units"
    work = making.Work(ground / "raw", GPT2, encoder("tiktoken", GPT2), 2, 10**6)
    out.mkdir()
    tokens_in_units(work.raw, GPT2, out, below, unit_bytes, partial(in_turn, work))
    return out


# ---- the plan ----


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_units_are_closed_once_they_have_enough_text(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("plan")
    rows = [data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=30)) for _ in range(3)]
    contents = {
        f"{i}.parquet": parquet(["x" * n for n in sizes], rows=4, use_dictionary=False)
        for i, sizes in enumerate(rows)
    }
    raw = build(folder, contents)
    limit = data.draw(st.integers(1, 2000))
    found = [(unit.first, unit.documents) for unit in all_units(raw, limit)]
    expected, size, first, done = [], 0, 0, 0
    for content in contents.values():
        about = pq.ParquetFile(BytesIO(content)).metadata
        for group in (about.row_group(i) for i in range(about.num_row_groups)):
            if size >= limit:
                expected.append((first, done - first))
                first, size = done, 0
            size += group.column(1).total_uncompressed_size
            done += group.num_rows
    assert found == [*expected, (first, done - first)]
    shutil.rmtree(folder)


@pytest.mark.parametrize("limit", [1, CUT, 10**9, None])
def test_every_document_is_in_one_unit_in_order(ground, limit):
    units = [unit for unit in all_units(ground / "raw", limit) if unit.split == "train"]
    texts, first = [], 0
    for unit in units:
        assert unit.first == first
        for part in read_blocks(ground / "raw", "train", 300, unit):
            assert part.first == len(texts)
            texts += [part.text(i) for i in range(part.documents)]
        first += unit.documents
        assert first == len(texts)
    assert texts == TEXTS
    assert [unit.name for unit in units] == [
        unit_name("train", i, len(units)) for i in range(len(units))
    ]
    assert len(units) == {1: 42, 10**9: 1, None: 1}.get(limit, len(units))
    assert limit != CUT or len(units) > 10


def test_files_of_other_kinds_are_whole_and_texts_that_were_joined_one_unit(tmp_path):
    raw = build(tmp_path / "a", {"a.jsonl": json_lines(NASTY), "b.jsonl": json_lines(["b"])})
    assert [unit.documents for unit in all_units(raw, 1)] == [len(NASTY), 1]
    raw = build(tmp_path / "b", {"a.txt": b"one", "b.txt": b"two", "c.jsonl": json_lines(["3"])})
    (unit,) = all_units(raw, 1)
    assert (unit.documents, len(unit.parts)) == (3, 2)
    assert texts_of(raw) == ["one", "two", "3"]


def test_a_parquet_file_that_cannot_be_read_is_one_unit_whose_reader_says_why(tmp_path):
    raw = build(tmp_path, files())
    path = raw / "train-00001-of-00003.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    assert Part(path.name) in [part for unit in all_units(raw, CUT) for part in unit.parts]
    with pytest.raises(UserError, match=r"row 1 of 1\.parquet .* cannot be read as Parquet"):
        tokens(tmp_path, "tokens", CUT)


# ---- the bytes ----


@pytest.mark.parametrize("policy", ["none", "append", "prepend"])
@pytest.mark.parametrize("limit", [1, CUT])
def test_bins_are_the_same_however_the_work_was_cut(ground, tmp_path, limit, policy):
    one, many = tmp_path / "one", tmp_path / "many"
    cut = tokens_once(ground, limit)
    for folder, source in ((one, ground / "tokens"), (many, cut)):
        folder.mkdir()
        write_bins(source, folder, policy)
    found, wanted = hashes(many), hashes(one)
    assert found.pop("manifest.json") != wanted.pop("manifest.json")
    assert found == wanted
    told = json.loads((many / "manifest.json").read_text())
    units = [unit.documents for unit in all_units(ground / "raw", limit) if unit.split == "train"]
    assert told.pop("units") == {"train": units}
    del told["sha256"]
    assert told == {k: v for k, v in json.loads((one / "manifest.json").read_text()).items()
                    if k != "sha256"}  # fmt: skip


def tokens_once(ground: Path, limit: int) -> Path:
    path = ground / f"tokens-{limit}"
    return path if path.exists() else tokens(ground, path.name, limit)


@pytest.mark.parametrize("policy", ["none", "append", "prepend"])
def test_tokens_in_units_come_back_from_the_bins(ground, tmp_path, policy):
    cut, bins, back = tokens_once(ground, CUT), tmp_path / "bins", tmp_path / "back"
    for folder in (bins, back):
        folder.mkdir()
    write_bins(cut, bins, policy)
    write_tokens(open_bins(bins), back, {})
    assert hashes(back) == hashes(cut)


def test_documents_have_their_rows_and_ids_across_units(ground):
    def read(folder: Path) -> list[tuple]:
        entry = json.loads((folder / "tokens.json").read_text())["splits"]["train"]
        return [
            (group.first + i, *lengths, ids)
            for group in groups(folder, "train", entry, 2)
            for i, (lengths, ids) in enumerate(
                zip(group.lengths.tolist(), group.ids.to_pylist(), strict=True)
            )
        ]

    found = read(tokens_once(ground, CUT))
    assert found == read(ground / "tokens")
    assert [row for row, *_ in found] == [*range(len(TEXTS))]


def test_damaged_tokens_in_units_are_found_by_verify(ground, tmp_path):
    cut = shutil.copytree(tokens_once(ground, CUT), tmp_path / "tokens")
    assert _wrong_file(cut) == ""
    (path,) = cut.glob("train-00004-of-*.totals")
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert _wrong_file(cut) == path.name


@pytest.mark.parametrize("name", ["train-00003-of-{}.ids", "train-00003-of-{}.totals"])
@pytest.mark.parametrize("policy", ["none", "append"])
def test_a_damaged_unit_of_tokens_is_refused(ground, tmp_path, name, policy):
    cut = shutil.copytree(tokens_once(ground, CUT), tmp_path / "tokens")
    units = len([unit for unit in all_units(ground / "raw", CUT) if unit.split == "train"])
    path = cut / name.format(f"{units:05d}")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (out := tmp_path / "bins").mkdir()
    with pytest.raises(UserError, match=f"{path.name} is not as tokens.json says"):
        write_bins(cut, out, policy)


def test_an_error_names_the_row_of_the_file(tmp_path):
    rows = [*TEXTS[:100], None, *TEXTS[100:]]
    raw = build(tmp_path, {"a.parquet": parquet(rows, rows=10, use_dictionary=False)})
    assert len(all_units(raw, 200)) > 5
    with pytest.raises(UserError, match=r"train: row 101 of a\.parquet is null, expected text"):
        tokens(tmp_path, "tokens", 200)


# ---- what is finished ----


def made_by(monkeypatch) -> list[str]:
    """The names of the units that are made from now on, in order."""
    names: list[str] = []
    write = making._write

    def noted(out: Path, *rest: object) -> dict:
        names.append(out.name.partition(".")[0])
        return write(out, *rest)

    monkeypatch.setattr(making, "_write", noted)
    return names


def test_what_is_finished_is_not_made_again_unless_it_is_damaged(ground, tmp_path, monkeypatch):
    names, kept = made_by(monkeypatch), tmp_path / "kept"
    first = tokens(ground, "first", CUT, kept)
    every = [unit.name for unit in all_units(ground / "raw", CUT)]
    assert names == every
    names.clear()
    (folder,) = kept.iterdir()
    shutil.rmtree(folder / every[2])
    damage: dict[str, Callable[[Path], object]] = {
        every[4]: lambda unit: os.truncate(unit / "ids", 10),
        every[5]: lambda unit: (unit / "entry.json").write_text("{"),
        every[6]: lambda unit: (unit / "entry.json").unlink(),
        every[7]: lambda unit: (unit / "totals").write_bytes(bytes(16)),
        every[8]: lambda unit: edit(unit / "entry.json", '"documents": ', '"documents": 1'),
    }
    for name, do in damage.items():
        do(shutil.copytree(folder / name, tmp_path / name))  # a copy: the files are linked
        shutil.rmtree(folder / name)
        (tmp_path / name).rename(folder / name)
    second = tokens(ground, "second", CUT, kept)
    assert names == [every[i] for i in (2, 4, 5, 6, 7, 8)]
    assert hashes(second) == hashes(first) == hashes(tokens_once(ground, CUT))


def test_a_disk_that_cannot_be_read_is_no_damage(ground, tmp_path, monkeypatch):
    kept = tmp_path / "kept"
    tokens(ground, "readable", CUT, kept)
    before = hashes(kept)

    def unreadable(path: Path) -> list[str]:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(making, "chunk_hashes", unreadable)
    with pytest.raises(OSError, match="Input/output error"):
        tokens(ground, "unreadable", CUT, kept)
    assert hashes(kept) == before


def test_what_workers_made_on_another_disk_is_one_line(ground, tmp_path, monkeypatch):
    monkeypatch.setattr(tokenize_text, "carried_out", lambda *_: None)
    units, order = all_units(ground / "raw", CUT), Order(*[""] * len(Order._fields))
    with pytest.raises(UserError) as error:
        tokenize_text._elsewhere(Cluster("dask", "tcp://10.0.0.5:8786"), order, units, tmp_path)
    assert f"{tmp_path / units[0].name} is not on this disk" in one_line(error)


def edit(path: Path, old: str, new: str) -> None:
    content = path.read_text()
    path.write_text(content.replace(old, new, 1))
    assert path.read_text() != content


def test_a_raw_file_with_other_rows_than_were_counted_is_refused(tmp_path):
    raw = build(tmp_path, files())
    (raw / "train-00001-of-00003.parquet").write_bytes(parquet(["x"] * 9, use_dictionary=False))
    with pytest.raises(UserError, match=r"but raw/source.json counted"):
        tokens(tmp_path, "tokens", CUT)


def test_another_text_vocabulary_cut_or_code_has_units_of_its_own(ground, monkeypatch):
    source = json.loads((ground / "raw/source.json").read_text())
    vocabulary = {"encoding": "gpt2", "vocab_size": 50257}
    found = [identity.identity(source, vocabulary, CUT)]
    found.append(identity.identity(source | {"column": "story"}, vocabulary, CUT))
    found.append(identity.identity(source, vocabulary | {"encoding": "llama3"}, CUT))
    found.append(identity.identity(source, vocabulary, CUT + 1))
    monkeypatch.setattr(identity, "CODE", "other")
    found.append(identity.identity(source, vocabulary, CUT))
    monkeypatch.setattr(identity, "libraries", lambda: {"tiktoken": "1"})
    found.append(identity.identity(source, vocabulary, CUT))
    assert len({*found}) == len(found)
    assert found[-1] == identity.identity(source, vocabulary, CUT)


def test_the_code_that_counts_is_what_the_stage_depends_on(tmp_path, monkeypatch):
    stages = (ROOT / "dvc.yaml").read_text()
    stage = stages.partition("  tokenize:")[2].partition("  bins:")[0]
    assert [f"slm/{room}" in stage for room in identity.ROOMS] == [True] * len(identity.ROOMS)
    assert stage.count("- slm/") == len(identity.ROOMS)
    before = identity.code()
    copy = shutil.copytree(ROOT / "slm", tmp_path / "slm")
    monkeypatch.setattr(identity, "HERE", copy)
    assert identity.code() == before
    (copy / "tokens/units/making.py").open("a").write("\n")
    assert identity.code() != before


def test_two_hosts_that_make_one_unit_leave_one(ground, tmp_path, monkeypatch):
    unit = all_units(ground / "raw", CUT)[0]
    work = making.Work(ground / "raw", GPT2, encoder("tiktoken", GPT2), 1, 10**6)
    with making.landing_once(tmp_path / unit.name) as late:  # another begins, and is done before
        with monkeypatch.context() as patch:
            patch.setattr(making.platform, "node", lambda: "another")
            making.make_unit(work, unit, tmp_path)
        before = hashes(tmp_path / unit.name)
        (late / "ids").write_bytes(b"")
    assert hashes(tmp_path / unit.name) == before
    assert [path.name for path in tmp_path.iterdir()] == [unit.name]


# ---- the command ----


def command(folder: Path, *words: str) -> subprocess.Popen:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "scripts.tokenize_text", "mine", *words]
    return subprocess.Popen(line, cwd=folder, env=env, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


def said(folder: Path, *words: str, fails: bool = False) -> str:
    process = command(folder, *words)
    out, error = process.communicate()
    assert process.returncode == int(fails), (out, error)
    assert not fails or error.count("\n") == 1, error
    return error if fails else out


@pytest.fixture
def place(ground, tmp_path) -> Path:
    """A folder with params.yaml and data/mine, as the stage sees it."""
    data = tmp_path / "data/mine"
    shutil.copytree(ground / "raw", data / "raw")
    (data / "vocabulary").mkdir()
    told = json.loads((ground / "tokens/tokens.json").read_text())["vocabulary"]
    (data / "vocabulary/vocabulary.json").write_text(json.dumps(told))
    params = f"dataset: mine\ndatasets: {{}}\ntokenizer: {{engine: gigatoken, unit_bytes: {CUT}}}\n"
    (tmp_path / "params.yaml").write_text(params)
    return tmp_path


def test_units_made_by_hand_in_any_order_give_the_same_tokens(ground, place):
    data = place / "data/mine"
    (data / "vocabulary").rename(data / "away")
    count = int(said(place, "--count"))  # which raw/ alone decides
    error = said(place, "--unit", "0", fails=True)
    assert "data/mine/vocabulary is missing" in error
    (data / "away").rename(data / "vocabulary")
    assert count == len(all_units(ground / "raw", CUT))
    numbers = random.Random(3).sample(range(count), 5)
    for number in numbers:
        name = all_units(ground / "raw", CUT)[number].name
        assert said(place, "--unit", str(number)) == f"unit {number}: {name}, made\n"
    assert said(place, "--unit", str(numbers[0])).endswith(", was there\n")
    (folder,) = (data / "units").iterdir()
    assert len([*folder.iterdir()]) == 5 and not (data / "tokens").exists()
    assert "tokens by" in said(place)
    assert hashes(data / "tokens") == hashes(tokens_once(ground, CUT))
    assert {path.name for path in data.iterdir()} == {"raw", "vocabulary", "tokens"}


def test_what_cannot_be_made_is_one_line(place):
    data, last = place / "data/mine", int(said(place, "--count")) - 1
    error = said(place, "--unit", str(last + 1), fails=True)
    assert f"mine has units 0 to {last}; {last + 1} is none of them" in error
    params = (place / "params.yaml").read_text()
    (place / "params.yaml").write_text(params.replace(str(CUT), "0.5"))
    assert "tokenizer.unit_bytes is 0.5, expected a whole number" in said(place, fails=True)
    (place / "params.yaml").write_text(params)
    (data / "raw").rename(data / "away")
    error = said(place, "--unit", "0", fails=True)
    assert "data/mine/raw is missing" in error and "`dvc repro vocabulary` makes it" in error


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_with_what_is_finished(ground, place):
    data, rng, seen = place / "data/mine", random.Random(5), 0
    for _ in range(4):
        process = command(place)
        while len(finished(data)) <= seen and process.poll() is None:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.01))
        process.kill()
        process.communicate()
        assert not (data / "tokens").exists(), "it was done before it could be killed"
        assert len(finished(data)) > seen
        seen = len(finished(data))
    assert "tokens by" in said(place)
    assert hashes(data / "tokens") == hashes(tokens_once(ground, CUT))
    assert {path.name for path in data.iterdir()} == {"raw", "vocabulary", "tokens"}


def finished(data: Path) -> list[Path]:
    return [path for path in data.glob("units/*/*") if path.suffix != ".tmp"]
