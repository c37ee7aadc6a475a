"""Facts about bins in object storage: the same bins, brought as they are needed, each byte checked,
and what is wrong there is one line.
"""

import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import slm
from slm.bins.format import MANIFEST, self_hash
from slm.bins.manifest import all_names
from slm.bins.opening import Bins
from slm.bins.writing.from_tokens import write_bins
from slm.core.files import to_json
from slm.stores.sending import damage_at, send, send_again
from slm.text.by_url import client
from tests.helpers import one_line
from tests.s3_server import S3Server
from tests.workspace import commit, dvc, edit, git, hashes, script


@pytest.fixture
def s3(monkeypatch, tmp_path) -> Iterator[S3Server]:
    import s3fs

    client._made.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()
    with S3Server() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SLM_STORE", str(tmp_path / "store"))
        server.put("bucket/other", b"")
        yield server
    client._made.cache_clear()


def made(small_sample: Path, folder: Path, shard_tokens: int | None = None) -> Path:
    """Bins of the small sample, with end-of-text."""
    folder.mkdir(parents=True)
    data = small_sample / "data/sample"
    write_bins(data / "tokens", folder, "append", data / "vocabulary", None, shard_tokens)
    return folder


def sent(folder: Path) -> str:
    """The URL where the bins of a folder are from now on."""
    bins = slm.open_bins(folder)
    url = f"s3://bucket/bins/sample/{bins.manifest['sha256']}"
    send(folder, url)
    return url


def equal(a: Bins, b: Bins) -> bool:
    """Whether two are the same in each array."""
    assert a.manifest == b.manifest
    assert a.version == b.version
    for split in a.manifest["splits"]:
        assert np.array_equal(np.asarray(a.ids(split)), np.asarray(b.ids(split)))
        assert np.array_equal(a.docs(split), b.docs(split))
    return True


@pytest.mark.parametrize("shard_tokens", [None, 700])
def test_bins_at_a_url_are_those_that_were_sent(s3, small_sample, tmp_path, shard_tokens):
    folder = made(small_sample, tmp_path / "bins", shard_tokens)
    url = sent(folder)
    assert equal(slm.open_bins(url, verify=True), slm.open_bins(folder))
    assert hashes(tmp_path / "store" / url.rpartition("/")[2]) == hashes(folder)


def test_only_what_is_needed_is_brought(s3, small_sample, tmp_path):
    url = sent(made(small_sample, tmp_path / "bins", 700))
    bins = slm.open_bins(url)
    assert [path.name for path in bins.folder.iterdir()] == [MANIFEST]
    bins.ids("validation")
    names = {path.name.split("-")[0] for path in bins.folder.iterdir()}
    assert names == {MANIFEST, "validation"}


def test_one_document_brings_the_shards_that_it_is_in(s3, small_sample, tmp_path):
    from slm.bins.reading import ids_of

    folder = made(small_sample, tmp_path / "bins", 700)
    bins = slm.open_bins(sent(folder))
    expected = slm.open_bins(folder).ids("train")[1399:1402]
    assert np.array_equal(ids_of(bins, "train", 1399, 1402), expected)
    assert len([*bins.folder.glob("*.bin")]) == 2


def test_opened_a_second_time_no_server_is_asked(s3, small_sample, tmp_path):
    url = sent(made(small_sample, tmp_path / "bins"))
    slm.open_bins(url, verify=True)
    s3.requests.clear()
    slm.open_bins(url, verify=True).ids("train")
    assert s3.requests == []


def test_batches_are_the_same(s3, small_sample, tmp_path):
    folder = made(small_sample, tmp_path / "bins", 700)
    how = {"batch_size": 4, "block_size": 32, "seed": 1}
    for order in ("shuffled", "packed"):
        here = iter(slm.Batches(folder, "train", order=order, **how))
        there = iter(slm.Batches(sent(folder), "train", order=order, **how))
        for _ in range(5):
            pairs = zip(next(here), next(there), strict=True)
            assert all(a.equal(b) for a, b in pairs)


def _open(url: str) -> str:
    return str(slm.open_bins(url, verify=True).ids("train")[:].sum())


def test_several_processes_bring_each_file_once(s3, small_sample, tmp_path):
    folder = made(small_sample, tmp_path / "bins", 700)
    url = sent(folder)
    s3.requests.clear()
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        sums = pool.map(_open, [url] * 3)
    assert len({*sums}) == 1
    gets = [one for one in s3.requests if one.startswith("GET") and not one.endswith(MANIFEST)]
    assert len(gets) == len({*gets}) == len(all_names(slm.open_bins(folder).manifest)) - 1


def test_what_is_there_is_not_sent_again_and_the_manifest_goes_last(s3, small_sample, tmp_path):
    folder = made(small_sample, tmp_path / "bins", 700)
    url = f"s3://bucket/bins/sample/{slm.open_bins(folder).manifest['sha256']}"
    names = all_names(slm.open_bins(folder).manifest)
    s3.fault("fail", rf"PUT .*{names[3]}")
    with pytest.raises(ValueError, match="cannot be read or written") as error:
        send(folder, url)
    assert "run the same command again" in one_line(error)
    assert not any(name.endswith(MANIFEST) for name in s3.objects)
    before = len(s3.objects)
    s3.faults.clear()
    assert send(folder, url) == len(names) - (before - 1)
    assert [one for one in s3.requests if one.startswith("PUT")][-1].endswith(MANIFEST)
    assert send(folder, url) == 0


@pytest.mark.parametrize("shard_tokens", [None, 9000])
def test_other_bytes_are_refused_and_nothing_of_them_stays(
    s3, small_sample, tmp_path, shard_tokens
):
    folder = made(small_sample, tmp_path / "bins", shard_tokens)
    url, manifest = sent(folder), slm.open_bins(folder).manifest
    for number, name in enumerate(all_names(manifest)):
        key = f"{url[len('s3://') :]}/{name}"
        content = s3.objects[key]
        flipped = bytearray(content)
        flipped[len(flipped) // 2] ^= 1
        cut = content[:-2] if name == MANIFEST else content[:-1]  # its last byte is a line feed
        for wrong in (bytes(flipped), cut, content + b"\0"):
            s3.put(key, wrong)
            store = tmp_path / f"store{number}{len(wrong)}{wrong == bytes(flipped)}"
            with pytest.raises(ValueError, match=r"corrupt|other bytes|other bins") as error:
                slm.open_bins(url, verify=True, store=store)
            one_line(error)
            assert not [*store.glob(f"*/{name}")]
            assert not [*store.glob("*/*.tmp")]
        assert [wrong for wrong, _ in damage_at(url, manifest, folder)] == [name]
        s3.put(key, content)
    assert [*damage_at(url, manifest, folder)] == []


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("slow_down", "asks for fewer requests"), ("cut", "cannot be"), ("short", "its server sent")],
)
def test_a_server_that_fails_is_one_line_and_the_next_opening_goes_on(
    s3, small_sample, tmp_path, monkeypatch, kind, expected
):
    folder = made(small_sample, tmp_path / "bins", 700)
    url = sent(folder)
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    monkeypatch.setitem(client.RETRIES, "total_max_attempts", 1)
    import s3fs

    client._made.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()
    s3.fault(kind, "GET .*train-00003.*bin")
    bins = slm.open_bins(url)
    with pytest.raises(ValueError, match=expected) as error:
        bins.ids("train")
    one_line(error)
    s3.faults.clear()
    assert equal(slm.open_bins(url), slm.open_bins(folder))


def test_what_is_no_url_of_bins_is_one_line(s3, small_sample, tmp_path):
    url = sent(made(small_sample, tmp_path / "bins"))
    other = f"{url[:-64]}{'0' * 64}"
    for name, content in [*s3.objects.items()]:
        s3.objects[name.replace(url[-64:], "0" * 64)] = content
    wrong = {
        "s3://bucket/none": "is not there; correct that URL",
        "s3://none/bins": "is not there",
        "ftp://host/bins": "of no scheme",
        other: "and not those of its name",
    }
    for given, expected in wrong.items():
        with pytest.raises(ValueError, match=expected) as error:
            slm.open_bins(given)
        one_line(error)


UP = {"tokens": 1, "files": {"../up.bin": {"bytes": 2}}}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"vocabulary": {"../../escaped": {"bytes": 1, "sha256": ["0" * 64]}}}, "names a file"),
        ({"splits": {"../up": UP}}, "names a file"),
        ({"splits": {"up": {"files": {"up.bin": {}}}}}, "is no manifest of bins"),
        ({"splits": {"up": {**UP, "files": {"u" * 300: {"bytes": 1}}}}}, "names a file"),
        ({"splits": ["train"]}, "is no manifest of bins"),
        ({"format": 9}, "has format 9"),
    ],
)
def test_a_manifest_of_another_chooses_no_path(s3, small_sample, tmp_path, change, expected):
    bins = slm.open_bins(made(small_sample, tmp_path / "bins"))
    content = {key: of for key, of in {**bins.manifest, **change}.items() if key != "sha256"}
    content["sha256"] = self_hash(content)
    s3.put("bucket/evil/manifest.json", to_json(content))
    with pytest.raises(ValueError, match=expected) as error:
        slm.open_bins("s3://bucket/evil", verify=True)
    one_line(error)
    assert not (tmp_path / "escaped").exists()


def test_a_store_that_cannot_be_written_is_said(s3, small_sample, tmp_path):
    url = sent(made(small_sample, tmp_path / "bins"))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ValueError, match="name another: SLM_STORE=folder") as error:
        slm.open_bins(url, store=tmp_path / "file")
    one_line(error)


def test_what_was_flipped_there_is_sent_again_from_here(s3, small_sample, tmp_path):
    folder = made(small_sample, tmp_path / "bins")
    url, manifest = sent(folder), slm.open_bins(folder).manifest
    slm.open_bins(url, verify=True)  # and so the local store has them
    key = f"{url[len('s3://') :]}/train.bin"
    right = s3.objects[key]
    s3.put(key, bytes(len(right)))
    assert [name for name, _ in damage_at(url, manifest, folder)] == ["train.bin"]
    send_again(url, manifest, ["train.bin"])
    assert s3.objects[key] == right
    kept = tmp_path / "store" / url[-64:] / "train.bin"
    kept.write_bytes(bytes(len(right)))
    with pytest.raises(ValueError, match="is not intact, from which"):
        send_again(url, manifest, ["train.bin"])
    kept.unlink()
    with pytest.raises(ValueError, match="is not intact, from which"):
        send_again(url, manifest, ["train.bin"])


def test_each_process_of_a_fork_brings_for_itself(s3, small_sample, tmp_path):
    folder = made(small_sample, tmp_path / "bins", 700)
    bins = slm.open_bins(sent(folder))
    with multiprocessing.get_context("fork").Pool(2) as pool:  # as a DataLoader's workers are
        found = pool.map(partial(_ids, bins), ["train", "validation"])
    opened = slm.open_bins(folder)
    assert found == [int(opened.ids(split)[:].sum()) for split in ("train", "validation")]


def _ids(bins: Bins, split: str) -> int:
    return int(bins.ids(split)[:].sum())


def test_the_working_folder_may_change(s3, small_sample, tmp_path, monkeypatch):
    url = sent(made(small_sample, tmp_path / "bins"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLM_STORE", "relative")
    bins = slm.open_bins(url)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(bins.ids("train")) == bins.manifest["splits"]["train"]["tokens"]
    assert (tmp_path / "relative").is_dir()
    with pytest.raises(ValueError, match="is no URL; pass a string"):
        slm.open_bins(Path(url))


def test_no_file_of_bins_is_asked_for_twice(s3, small_sample, tmp_path):
    folder = made(small_sample, tmp_path / "bins", 700)
    url = sent(folder)
    s3.requests.clear()
    slm.open_bins(url, verify=True)
    names = all_names(slm.open_bins(folder).manifest)
    assert len([one for one in s3.requests if one.startswith("GET")]) == len(names)
    assert len([one for one in s3.requests if one.startswith("HEAD")]) <= len(names) + 2


def test_what_a_store_lost_is_said_where_dvc_has_the_bins(s3, small_sample, tmp_path):
    folder = tmp_path / "clone"
    shutil.copytree(small_sample, folder, symlinks=True)
    store, null = "store: s3://bucket/bins ", "store: null "
    edit(folder / "params.yaml", null, store)
    script(folder, "make_data")
    assert script(folder, "make_card")
    edit(folder / "params.yaml", store, null)
    script(folder, "make_data")
    for name in [name for name in s3.objects if name.startswith("bucket/bins/")]:
        del s3.objects[name]
    shutil.rmtree(tmp_path / "store")
    edit(folder / "params.yaml", null, store)
    said = script(folder, "make_data", fails=True)
    assert "train.bin is not there; `make verify FIX=1` of that dataset" in said
    said = script(folder, "verify", "--fix", fails=True)
    assert "remove that object, then `dvc repro --force bins`" in said
    dvc(folder, "repro", "-q", "--force", "bins")
    script(folder, "make_data")
    assert "every byte is as" in script(folder, "verify")
    (tmp_path / "off").mkdir()
    for name in [name for name in s3.objects if "manifest.json" in name or "docs" in name]:
        del s3.objects[name]
    shutil.rmtree(tmp_path / "store")
    said = script(folder, "verify", fails=True)
    assert said.count("is not there") == 3
    assert "sample" in script(folder, "list_datasets")  # which asks no server


def test_a_dataset_in_a_store_is_built_pulled_verified_and_compared(s3, small_sample, tmp_path):
    folder, remote = tmp_path / "clone", tmp_path / "remote"
    shutil.copytree(small_sample, folder, symlinks=True)
    local = json.loads((folder / "data/sample/bins/manifest.json").read_bytes())
    edit(folder / "params.yaml", "store: null ", "store: s3://bucket/bins ")
    said = script(folder, "make_data")
    assert "in s3://bucket/bins" in said
    assert f"{local['splits']['train']['tokens']:,} tokens" in said
    bins = folder / "data/sample/bins"
    assert sorted(os.listdir(bins)) == ["manifest.json", "store.json"]  # noqa: PTH208
    assert json.loads((bins / "manifest.json").read_bytes()) == local  # the same version
    assert "nothing to do" in script(folder, "make_data")
    git(folder, "tag", "before")
    commit(folder)

    git(folder, "config", "core.autocrlf", "false")
    dvc(folder, "remote", "add", "-q", "there", str(remote))
    commit(folder)
    script(folder, "push", "--remote", "there")
    assert len([path for path in remote.rglob("*") if path.is_file()]) == 3  # with the listing
    clone = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(folder), str(clone))
    shutil.rmtree(tmp_path / "store")
    s3.requests.clear()
    script(clone, "pull", "--remote", "there")
    assert not [one for one in s3.requests if "train" in one]  # until it is needed
    assert "every byte is as" in script(clone, "verify")
    assert script(clone, "inspect_bins", "--split", "validation", "--token", "0")
    assert script(folder, "diff_bins", "--a", "before")
    script(folder, "inspect_bins", "--split", "train", "--token", "0")

    key = next(name for name in s3.objects if name.endswith("train.bin"))
    right = s3.objects[key]
    s3.put(key, bytes(len(right)))
    said = script(folder, "verify", fails=True)
    assert "train.bin has other bytes than the manifest says" in said
    assert "`make verify FIX=1` sends it again" in said
    script(folder, "inspect_bins")  # what is here was right when it came
    assert json.loads(script(folder, "verify", "--fix", "--json"))["repaired"]
    assert not json.loads(script(folder, "verify", "--fix", "--json"))["repaired"]
    assert s3.objects[key] == right
    s3.put(key, bytes(len(right)))
    shutil.rmtree(tmp_path / "store")
    assert "other bytes" in script(folder, "inspect_bins", fails=True)
    said = script(folder, "verify", "--fix", fails=True)  # nobody has them now
    assert "dvc repro --force bins" in said


def test_another_scheme_is_no_store(small_sample, tmp_path):
    folder = tmp_path / "clone"
    shutil.copytree(small_sample, folder, symlinks=True)
    edit(folder / "params.yaml", "store: null ", "store: data/elsewhere ")
    said = script(folder, "make_data", fails=True)
    assert "bins.store is 'data/elsewhere', expected null, or a place such as" in said
