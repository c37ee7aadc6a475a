"""Bins in shards are the bins in one piece: every reader gives the same, whatever the cut."""

import json
import mmap
import os
import pickle
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm.batching.batches import Batches
from slm.batching.host import gather, take, windows
from slm.batching.mixture import Mixture
from slm.batching.paging import Pages
from slm.bins.diff import differences
from slm.bins.documents import document, number_at
from slm.bins.manifest import file_names
from slm.bins.opening import Bins, open_bins
from slm.bins.shards import ShardedIds
from slm.bins.to_tokens import write_tokens
from slm.bins.verifying import damage
from slm.bins.writing.from_tokens import write_bins
from slm.bins.writing.pieces import PLACED
from slm.bins.writing.sharding import write_shards
from slm.cards.croissant import croissant
from slm.cards.readme import readme
from slm.core.errors import UserError
from slm.stats.describe import figures
from tests.bins.test_bins import STORIES, tokenized
from tests.helpers import one_line
from tests.workspace import hashes, script

POLICIES = ("none", "append", "prepend")
SIZES = (7, 50, 64, 600, 10**9)  # documents longer than a shard, …, all in one


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    stories = [*STORIES, *(f"story {i}: {'la ' * (i % 30)}" for i in range(40)), ""]
    splits = {"train": stories, "validation": ["one", ""]}
    return tokenized(tmp_path_factory.mktemp("tokens"), splits)


@pytest.fixture(scope="module")
def folders(tokens, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Bins by policy and shard_tokens; None: in one piece."""
    made = {}
    for policy in POLICIES:
        for size in (None, *SIZES):
            made[policy, size] = tmp_path_factory.mktemp("bins")
            write_bins(tokens, made[policy, size], policy, shard_tokens=size)
    return made


@pytest.fixture
def pair(folders) -> tuple[Bins, Bins]:
    return open_bins(folders["append", None]), open_bins(folders["append", 50])


def joined(folder: Path, split: str, kind: str) -> list[Path]:
    return sorted(folder.glob(f"{split}-*-of-*.{kind}"))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("size", SIZES)
def test_shards_end_to_end_are_the_file_in_one_piece(folders, policy, size):
    whole, cut = folders[policy, None], folders[policy, size]
    for split in ("train", "validation"):
        ids = (whole / f"{split}.bin").read_bytes()
        shards = [path.read_bytes() for path in joined(cut, split, "bin")]
        assert b"".join(shards) == ids
        assert {len(shard) for shard in shards[:-1]} <= {2 * size}
        assert len(shards) == max(1, -(-len(ids) // (2 * size)))
        docs = [np.load(path) for path in joined(cut, split, "docs.npy")]
        assert np.concatenate(docs).tolist() == np.load(whole / f"{split}.docs.npy").tolist()
        for i, part in enumerate(docs[:-1]):  # those of the documents that begin in it
            assert ((i * size <= part[:, 0]) & (part[:, 0] < (i + 1) * size)).all()
    assert not list(damage(cut))
    assert [open_bins(of).manifest["format"] for of in (whole, cut)] == [1, 2]
    about, made = open_bins(whole).manifest["splits"], open_bins(cut).manifest["splits"]
    for split, entry in about.items():
        assert {k: made[split][k] for k in ("tokens", "documents", "text_bytes")} == {
            k: entry[k] for k in ("tokens", "documents", "text_bytes")
        }


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("size", SIZES)
def test_every_reader_reads_shards_as_one_split(folders, policy, size):
    one, cut = (open_bins(folders[policy, of]) for of in (None, size))
    for split in ("train", "validation"):
        assert np.array_equal(np.asarray(cut.ids(split)), one.ids(split))
        assert np.array_equal(cut.docs(split), one.docs(split))
        assert figures(cut, split, 4) == figures(one, split, 4)
        for number in range(one.manifest["splits"][split]["documents"]):
            a, b = (document(bins, split, number) for bins in (one, cut))
            assert a._replace(ids=None) == b._replace(ids=None)
            assert a.ids.tolist() == b.ids.tolist()
        for position in range(0, len(one.ids(split)), 17):
            assert number_at(one, split, position) == number_at(cut, split, position)
    lines = list(differences(one, cut))
    assert lines[0] == f"shard_tokens: None -> {size}"
    assert sum("the text of all" in line for line in lines) == 2


def test_shards_that_are_alike_are_not_read_to_find_what_differs(folders, tokens, tmp_path):
    lines = (tokens.parent / "source" / "train.jsonl").read_text().splitlines()
    (tmp_path / "again").mkdir()
    texts = [json.loads(line)["text"] for line in lines]
    again = tokenized(tmp_path / "again", {"train": [*texts[:-2], "an other", ""]})
    (tmp_path / "bins").mkdir()
    write_bins(again, tmp_path / "bins", "append", shard_tokens=50)
    said = list(differences(open_bins(folders["append", 50]), open_bins(tmp_path / "bins")))
    assert f"train: document {len(texts) - 2} is the first whose text differs" in said


def test_one_shard_size_gives_one_hash(tokens, tmp_path, folders):
    (tmp_path / "bins").mkdir()
    write_bins(tokens, tmp_path / "bins", "append", shard_tokens=50)
    assert hashes(tmp_path / "bins") == hashes(folders["append", 50])


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("size", (7, 50, 10**9))
def test_tokens_come_back_from_shards(folders, tokens, tmp_path, policy, size):
    write_tokens(open_bins(folders[policy, size]), tmp_path, {})
    assert hashes(tmp_path) == hashes(tokens)


@pytest.mark.parametrize("order", ["random", "shuffled", "sequential", "packed"])
@pytest.mark.parametrize("size", [7, 50, 64])
def test_batches_are_those_of_one_file(folders, order, size):
    asked = {"batch_size": 3, "block_size": 16, "seed": 5, "order": order, "documents": True}
    for placement in ("host", "device"):
        one, cut = (
            Batches(
                folders["append", of],
                "train",
                **asked,
                placement=placement,
                steps=None if order == "sequential" else 20,
            )
            for of in (None, size)
        )
        for (x, y, of), (x2, y2, of2) in zip(one, cut, strict=True):
            assert x.equal(x2) and y.equal(y2)
            assert all(a.equal(b) for a, b in zip(of, of2, strict=True))


@pytest.mark.parametrize("order", ["shuffled", "packed"])
def test_a_mixture_takes_bins_in_shards_beside_others(folders, order):
    asked = {"weights": {"a": 2, "b": 1}, "batch_size": 4, "block_size": 16, "seed": 5}

    def mixed(size: int | None) -> list:
        parts = {"a": folders["append", size], "b": folders["prepend", None]}
        return list(Mixture(parts, "train", **asked, order=order, steps=9))

    for one, cut in zip(mixed(None), mixed(50), strict=True):
        assert all(a.equal(b) for a, b in zip(one, cut, strict=True))


def sharded(folder: Path, ids: np.ndarray, size: int) -> ShardedIds:
    files = []
    for i in range(max(1, -(-len(ids) // size))):
        files.append(folder / f"{i}.bin")
        ids[i * size : (i + 1) * size].tofile(files[-1])
    return ShardedIds(files, len(ids), size, ids.dtype)


@settings(deadline=None)
@given(st.data())
def test_sharded_ids_are_indexed_as_an_array_is(tmp_path_factory, data):
    count, size = data.draw(st.integers(1, 9000)), data.draw(st.integers(1, 5000))
    size = max(size, count // 200)
    ids = np.arange(count, dtype=data.draw(st.sampled_from(["<u2", "<u4"])))
    cut = sharded(tmp_path_factory.mktemp("ids"), ids, size)
    assert (len(cut), cut.nbytes, cut.dtype, cut.shape) == (count, ids.nbytes, ids.dtype, ids.shape)
    edge = st.none() | st.integers(-count - 2, count + 2)
    step = data.draw(st.sampled_from([None, 1, 2, 1000, -1, -3]))
    part = slice(data.draw(edge), data.draw(edge), step)
    assert cut[part].tolist() == ids[part].tolist()
    number = data.draw(st.integers(-count, count - 1))
    assert cut[number] == ids[number]
    some = np.array(data.draw(st.lists(st.integers(-count, count - 1), min_size=1)))
    assert cut[some].tolist() == ids[some].tolist() and cut[ids > 3].tolist() == ids[4:].tolist()
    beyond = np.abs(some) + count // 2
    assert gather(cut, beyond).tolist() == gather(ids, beyond).tolist()
    wide = data.draw(st.integers(1, count)) - 1
    starts = np.sort(np.abs(some) % (count - wide))
    assert take(windows(cut, wide), starts).tolist() == take(windows(ids, wide), starts).tolist()


@pytest.mark.parametrize("wrong", [5, -6, [0, 5]])
def test_an_index_out_of_range_is_one(tmp_path, wrong):
    with pytest.raises(IndexError):
        sharded(tmp_path, np.arange(5, dtype="<u2"), 2)[wrong]


def test_ids_of_shards_cannot_be_written_to(pair):
    with pytest.raises(ValueError, match="read-only"):
        pair[1].ids("train")[:3][0] = 1


def test_no_file_of_a_shard_stays_open(tmp_path):
    """Thousands of shards: a process may have 1,024 files open."""
    before = len([*Path("/dev/fd").iterdir()])
    few = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1024)
    ids = sharded(tmp_path, np.arange(2 * few, dtype="<u2"), 1)
    assert len([*Path("/dev/fd").iterdir()]) == before
    assert int(ids[:].astype(int).sum()) == few * (2 * few - 1)


def test_ids_past_two_to_the_34(tmp_path):
    """34 GB of files that are holes but for a few ids around the border of two shards."""
    per_shard, border, count = 2**30, 2**34, 2**34 + 50
    files = [tmp_path / f"{i}.bin" for i in range(17)]
    for path in files:
        path.touch()
        os.truncate(path, 2 * (per_shard if path != files[-1] else 50))
    for path, at, ids in ((files[-2], per_shard - 20, range(1, 21)), (files[-1], 0, range(21, 71))):
        with path.open("r+b") as file:
            file.seek(2 * at)
            file.write(np.array(ids, "<u2").data)
    cut = ShardedIds(files, count, per_shard, np.dtype("<u2"))
    assert len(cut) == count and cut[border - 21 : border + 3].tolist() == [*range(24)]
    rows = take(windows(cut, 9), np.array([5, border - 20, border - 5, border + 40]))
    firsts = [row[0] for row in rows.tolist()]
    assert firsts == [0, 1, 16, 61] and rows[2].tolist() == [*range(16, 26)]
    assert gather(cut, np.array([border - 1, border, border + 99])).tolist() == [20, 21, 70]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_documents_lie_in_the_shard_where_they_begin(tmp_path_factory, data):
    """Against a slow reading: document after document."""
    lengths = data.draw(st.lists(st.integers(0, 40), max_size=60))
    size, rows = data.draw(st.integers(1, 50)), data.draw(st.booleans())
    placed = np.zeros(len(lengths), PLACED)
    placed["tokens"], placed["bytes"] = lengths, np.arange(len(lengths))
    placed["row"] = np.arange(len(lengths))[::-1]
    ids = np.arange(sum(lengths), dtype="<u2")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(lengths)), max_size=4)))
    parts = []
    for first, last in zip([0, *cuts], [*cuts, len(lengths)], strict=True):
        begin, end = sum(lengths[:first]), sum(lengths[:last])
        parts.append((placed[first:last], ids[begin:end]))
    out = tmp_path_factory.mktemp("out")
    entry = write_shards(out, "train", parts, size, ids.dtype, rows)
    shards = max(1, -(-len(ids) // size))
    held: list[list] = [[] for _ in range(shards)]
    begin = text = 0
    for row, length in enumerate(lengths):
        held[min(begin // size, shards - 1)].append((begin, text, len(lengths) - 1 - row))
        begin, text = begin + length, text + row
    assert [shard["documents"] for shard in entry["shards"]] == [len(of) for of in held]
    assert (entry["tokens"], entry["text_bytes"]) == (begin, text)
    for i, of in enumerate(held):
        name = out / f"train-{i:05d}-of-{shards:05d}"
        last = [[begin, text]] if i == shards - 1 else []
        assert np.load(f"{name}.docs.npy").tolist() == [[a, b] for a, b, _ in of] + last
        assert Path(f"{name}.rows.npy").exists() == rows
        if rows:
            assert np.load(f"{name}.rows.npy").tolist() == [row for _, _, row in of]
    assert len(list(out.iterdir())) == shards * (4 if rows else 3)


def damages(folder: Path) -> dict[str, str]:
    """What is said of a damage to each file."""
    said = {}
    for name in file_names(folder)[1:]:
        path = folder / name
        content = path.read_bytes()
        for how, changed in {
            "flipped": bytes([*content[:-1], content[-1] ^ 1]) if content else b"x",
            "cut": content[:-1],
        }.items():
            if changed != content:
                path.unlink()
                path.write_bytes(changed)
                said[f"{name} {how}"] = next(damage(folder), "")
        path.unlink()
        said[f"{name} gone"] = next(damage(folder), "")
        path.write_bytes(content)
    return said


def test_every_damage_to_a_shard_is_found(folders, tmp_path):
    folder = tmp_path / "bins"
    shutil.copytree(folders["append", 600], folder)
    said = damages(folder)
    assert len(said) > 15
    for what, line in said.items():
        assert what.split()[0] in line, what
    assert not list(damage(folder))


@pytest.mark.parametrize("kind", ["bin", "docs.npy", "json"])
def test_a_shard_that_is_missing_or_cut_is_refused_at_opening(folders, tmp_path, kind):
    folder = tmp_path / "bins"
    shutil.copytree(folders["append", 50], folder)
    path = joined(folder, "train", kind)[3]
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(UserError) as error:
        open_bins(folder)
    assert path.name in one_line(error) and "make verify FIX=1" in one_line(error)
    path.unlink()
    with pytest.raises(UserError, match="is missing"):
        open_bins(folder)


def test_a_shard_that_was_cut_since_is_refused(folders, tmp_path):
    folder = tmp_path / "bins"
    shutil.copytree(folders["append", 50], folder)
    opened = open_bins(folder)
    os.truncate(joined(folder, "train", "bin")[2], 0)
    with pytest.raises(UserError, match="has 0 bytes, expected 100; `make verify FIX=1`"):
        opened.ids("train")


@pytest.mark.parametrize("size", [None, 64])
def test_a_folder_that_was_replaced_is_refused(folders, tmp_path, size):
    folder = tmp_path / "bins"
    shutil.copytree(folders["append", 50], folder)
    opened = open_bins(folder)
    assert len(opened.docs("train"))
    shutil.rmtree(folder)
    shutil.copytree(folders["append", size], folder)
    for read in (opened.ids, opened.docs, lambda split: document(opened, split, 0)):
        with pytest.raises(UserError, match="has other bins than when it was opened"):
            read("train")


def test_empty_documents_at_a_border_and_other_borders_of_documents_differ(tmp_path):
    """Their shards are equal, and what they say of documents is not."""
    made = []
    for i, texts in enumerate((["a b c d e", "", "x y z"], ["a b c d e", "ww", "x y z"],
                               ["a b", " c d e", "x y z"])):  # fmt: skip
        (tmp_path / f"{i}").mkdir()
        (tmp_path / f"{i}.bins").mkdir()
        source = tokenized(tmp_path / f"{i}", {"train": texts})
        write_bins(source, tmp_path / f"{i}.bins", "none", shard_tokens=5)
        made.append(open_bins(tmp_path / f"{i}.bins"))
    assert "train: document 1 is the first whose text differs" in [*differences(*made[:2])]
    assert "train: document 0 is the first whose text differs" in [*differences(made[0], made[2])]


def test_rows_of_shards_on_the_disk_are_read_in_advance(pair):
    assert all(Pages(bins.ids("train")).cold for bins in pair)
    ids = pair[1].ids("train")
    pages = Pages(ids)
    asked = []
    pages._map = type("Map", (), {"__len__": lambda _: len(ids._range),
                                  "madvise": lambda _, *given: asked.append(given)})()  # fmt: skip
    pages.advise(np.array([0, 120]), np.array([3, 3]))
    assert [begin for _, begin, _ in asked] == [0, 2 * mmap.PAGESIZE]  # 50 ids a page and shard


def test_a_gap_of_one_id_is_a_gap(tmp_path):
    ids = np.arange(9000, dtype="<u2")
    cut = sharded(tmp_path, ids, mmap.PAGESIZE // 2 - 1)
    starts = np.arange(8990)
    assert np.array_equal(take(windows(cut, 9), starts), take(windows(ids, 9), starts))


def test_ids_in_shards_are_copied_and_sent_like_others(pair):
    one, cut = (bins.ids("train") for bins in pair)
    assert np.array_equal(pickle.loads(pickle.dumps(cut))[:], one)  # noqa: S301
    assert cut[[]].tolist() == [] and cut[::7].tolist() == one[::7].tolist()
    with pytest.raises(IndexError, match="mask"):
        cut[np.array([True, False])]


def test_a_selection_is_cut_into_shards(small_sample, tmp_path):
    """Its documents have their rows in the source, shard by shard."""
    copy = shutil.copytree(small_sample, tmp_path / "copy", symlinks=True)
    params = copy / "params.yaml"
    chosen = "select:\n  sample: {shuffle: 3, first: 40}\n"
    params.write_text(params.read_text().replace("select:\n", chosen, 1))
    script(copy, "make_data")
    one = open_bins(shutil.copytree(copy / "data/sample/bins", tmp_path / "one"))
    params.write_text(params.read_text().replace("shard_tokens: null", "shard_tokens: 900"))
    assert "shards of 900 tokens" in script(copy, "make_data")
    cut = open_bins(copy / "data/sample/bins", verify=True)
    assert [*cut.rows("train")] == [*one.rows("train")] and len(cut.rows("train")) == 40
    assert np.array_equal(cut.ids("train")[:], one.ids("train"))
    assert document(cut, "train", 7).source == document(one, "train", 7).source


def test_a_file_that_is_no_shard_of_these_is_named(folders, tmp_path):
    folder = tmp_path / "bins"
    shutil.copytree(folders["append", 50], folder)
    (folder / "train-00000-of-00099.bin").write_bytes(b"")
    assert [*damage(folder)] == [
        f"{folder / 'train-00000-of-00099.bin'} is not of these bins; remove it"
    ]


def test_cards_name_every_file_and_their_code_reads_them(pair, monkeypatch):
    _, cut = pair
    card = json.loads(croissant(cut.folder, cut.manifest))
    assert {of["name"] for of in card["distribution"]} == set(file_names(cut.folder))
    code = readme(cut.manifest).decode().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(cut.folder)
    read: dict = {}
    exec(code, read)  # noqa: S102
    assert np.array_equal(np.concatenate(read["ids"]), cut.ids("train")[:])
    assert np.array_equal(read["docs"], cut.docs("train"))
