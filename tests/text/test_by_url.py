"""Facts about text at URLs: it is the text that files here have, it is not copied, and what a
server does wrong ends in one line.
"""

import gzip
import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from slm.bins.opening import open_bins
from slm.bins.writing.from_tokens import write_bins
from slm.text.by_url import client
from slm.text.corpus import make_raw
from slm.text.raw import read_source
from slm.text.units import all_units
from slm.tokens.published import load_encoding
from slm.tokens.token_files import in_turn, tokens_in_units
from slm.tokens.tokenizer import encoder
from slm.tokens.units.making import Work
from tests.helpers import NASTY, array, build, json_lines, one_line, parquet, texts_of, zstd
from tests.hub_server import HubServer
from tests.s3_server import S3Server
from tests.versions import remote_servers
from tests.workspace import ROOT, add_entry, commit, dvc, edit, hashes, script, workspace

TEXTS = [f"{text} {i}" * (i % 7) for i in range(40) for text in NASTY]
KINDS = {
    "1.parquet": parquet(TEXTS, rows=50),
    "2.jsonl.zst": zstd(json_lines(TEXTS)),
    "3.json.gz": gzip.compress(json_lines(TEXTS)),
    "4.jsonl": b"\xef\xbb\xbf" + json_lines(TEXTS),
}


def _fresh() -> None:
    """Forget clients, which keep the address and the key that they were made with."""
    import s3fs

    client._made.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(autouse=True)
def _fresh_clients() -> Iterator[None]:
    _fresh()
    yield
    _fresh()


@pytest.fixture
def s3(monkeypatch) -> Iterator[S3Server]:
    with S3Server() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        for name, content in KINDS.items():
            server.put(f"text/corpus/{name}", content)
        yield server


def raw_of(folder: Path, *urls: str, **more: object) -> Path:
    """A raw/ folder of a dataset whose train split is at these URLs."""
    raw = folder / "raw"
    raw.mkdir(parents=True)
    make_raw("mine", {"kind": "files", "files": {"train": [*urls]}, **more}, folder, raw)
    return raw


def bins_of(raw: Path, folder: Path, unit_bytes: int) -> dict:
    """The manifest of bins of this text."""
    encoding = load_encoding("gpt2")
    work = Work(raw, encoding, encoder("tiktoken", encoding), 2, 2**16)
    tokens, bins = folder / "tokens", folder / "bins"
    for path in (tokens, bins):
        path.mkdir(parents=True)
    tokens_in_units(raw, encoding, tokens, folder / "units", unit_bytes, partial(in_turn, work))
    write_bins(tokens, bins, "append")
    return dict(open_bins(bins, verify=True).manifest)


def test_each_kind_of_file_is_read_where_it_lies(s3, tmp_path):
    raw = raw_of(tmp_path, "s3://text/corpus/*")
    assert texts_of(raw) == TEXTS * 4
    assert texts_of(raw, block_bytes=100) == TEXTS * 4
    assert sorted(path.name for path in raw.iterdir()) == ["groups.json", "source.json"]
    files = read_source(raw)["splits"]["train"]["files"]
    assert [file["name"] for file in files] == [f"s3://text/corpus/{name}" for name in KINDS]
    assert all(file["etag"] == s3.tag(file["name"][len("s3://") :]) for file in files)


@pytest.mark.parametrize("unit_bytes", [700, 10_000, 10**9])
def test_bins_differ_from_those_of_local_files_in_their_dataset_alone(s3, tmp_path, unit_bytes):
    here = bins_of(build(tmp_path / "a", KINDS), tmp_path / "b", unit_bytes)
    there = bins_of(raw_of(tmp_path / "c", "s3://text/corpus/*"), tmp_path / "d", unit_bytes)
    differ = {key for key in here.keys() | there if here.get(key) != there.get(key)}
    assert differ == {"dataset", "sha256"}


def test_units_are_those_of_local_files(s3, tmp_path):
    here, there = build(tmp_path / "a", KINDS), raw_of(tmp_path / "b", "s3://text/corpus/*")
    names = [[(u.name, u.first, u.documents) for u in all_units(raw, 900)] for raw in (here, there)]
    assert names[0] == names[1]
    assert len(names[0]) > 10


def test_a_plan_asks_the_server_nothing(s3, tmp_path):
    raw = raw_of(tmp_path, "s3://text/corpus/*")
    s3.requests.clear()
    assert all_units(raw, 900)
    assert s3.requests == []


def test_of_parquet_that_is_counted_little_is_read(s3, tmp_path):
    s3.put(
        "text/large/a.parquet", parquet([f"{i} " * 3000 for i in range(400)], compression="none")
    )
    raw = raw_of(tmp_path, "s3://text/large/*.parquet")
    assert read_source(raw)["splits"]["train"]["files"][0]["rows"] == 400
    assert s3.sent < s3.size("text/large/a.parquet") / 4


def test_a_small_file_is_asked_for_once(s3, tmp_path):
    raw_of(tmp_path, "s3://text/corpus/4.jsonl")
    asked = [one for one in s3.requests if one.endswith("4.jsonl")]
    assert sorted(one.split()[0] for one in asked) == ["GET", "HEAD", "HEAD"]


def test_an_object_that_is_gone_and_a_folder_are_said(s3, tmp_path):
    raw = raw_of(tmp_path / "a", "s3://text/corpus/*")
    del s3.objects["text/corpus/4.jsonl"]
    with pytest.raises(ValueError, match="is gone since it was found; `dvc repro --force") as error:
        texts_of(raw)
    one_line(error)
    with pytest.raises(ValueError, match=r"is a folder; name its files, such as s3://text/corpus/"):
        raw_of(tmp_path / "b", "s3://text/corpus")


def test_markers_of_folders_are_no_files(s3, tmp_path):
    s3.put("text/corpus/", b"")
    assert texts_of(raw_of(tmp_path, "s3://text/**")) == TEXTS * 4


def test_a_client_of_the_hub_reads_its_urls(tmp_path):
    """In a process of its own: the client knows its hub from when it was imported."""
    code = (
        "import sys, json; from pathlib import Path; from tests.text.test_by_url import raw_of; "
        "from tests.helpers import texts_of; "
        "print(json.dumps(texts_of(raw_of(Path(sys.argv[1]), sys.argv[2]))))"
    )
    with HubServer() as hub:
        at = hub.publish("a/b", {"data/1.parquet": KINDS["1.parquet"], "data/2.txt": b"no"})
        url = f"hf://datasets/a/b@{at}/data/*.parquet"
        run = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "raw"), url],
            env={**os.environ, **hub.environment(tmp_path / "home"), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == TEXTS


def test_real_signatures_are_sent(tmp_path, monkeypatch):
    with remote_servers.s3() as server:
        server.write("a.parquet", KINDS["1.parquet"])
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.config["endpointurl"])
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.secrets["access_key_id"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secrets["secret_access_key"])
        assert texts_of(raw_of(tmp_path / "a", "s3://bins/slm/*.parquet")) == TEXTS
        _fresh()
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with pytest.raises(ValueError, match="is refused to you") as error:
            raw_of(tmp_path / "b", "s3://bins/slm/a.parquet")
        assert "AWS_PROFILE" in one_line(error)


def test_files_of_a_shared_disk_are_not_copied(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    for name, content in KINDS.items():
        (shared / name).write_bytes(content)
    raw = raw_of(tmp_path / "a", f"file://{shared}/*")
    assert texts_of(raw) == TEXTS * 4
    assert sorted(path.name for path in raw.iterdir()) == ["groups.json", "source.json"]
    here = read_source(build(tmp_path / "b", KINDS))["splits"]["train"]["files"]
    there = read_source(raw)["splits"]["train"]["files"]
    assert [file["sha256"] for file in there] == [file["sha256"] for file in here]
    time.sleep(0.02)
    (shared / "1.parquet").write_bytes(KINDS["1.parquet"])  # the same length
    with pytest.raises(ValueError, match="written since") as error:
        texts_of(raw)
    assert "`dvc repro --force download`" in one_line(error)
    os.utime(shared / "1.parquet", (1, 1))  # as a copy has it that keeps times
    with pytest.raises(ValueError, match="written since"):
        texts_of(raw)


def _put(name: str, content: bytes) -> Callable[[S3Server], None]:
    return lambda s3: s3.put(name, content)


NOTHING: Callable[[S3Server], None] = lambda _s3: None  # noqa: E731
REFUSED = {
    "nothing matches": (NOTHING, "s3://text/none/*.parquet", "matches nothing"),
    "no such key": (NOTHING, "s3://text/corpus/9.parquet", "is not there"),
    "no such bucket": (NOTHING, "s3://none/a.parquet", "is not there"),
    "another scheme": (NOTHING, "ftp://host/a.parquet", "of no scheme that is read here"),
    "a chain": (NOTHING, "simplecache::s3://text/corpus/1.parquet", "of no scheme"),
    "a password": (NOTHING, "https://a:b@host/1.parquet", "a user or a password in it"),
    "a client that is missing": (NOTHING, "gs://bucket/a.parquet", "needs gcsfs: `pip install"),
    "a kind": (_put("text/a.csv", b"text\n1\n"), "s3://text/a.csv", "of no kind"),
    "an array": (_put("text/a.json", array(TEXTS)), "s3://text/a.json", "is a JSON array"),
    "no Parquet": (_put("text/a.parquet", b"PAR1"), "s3://text/a.parquet", "is no Parquet"),
    "no column": (
        _put("text/a.parquet", parquet(TEXTS, column="story")),
        "s3://text/a.parquet",
        "has no column 'text'",
    ),
    "cut zstd": (
        _put("text/a.jsonl.zst", KINDS["2.jsonl.zst"][:-9]),
        "s3://text/a.jsonl.zst",
        "cannot be unpacked",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_taken_is_one_line(s3, tmp_path, what):
    prepare, url, expected = REFUSED[what]
    prepare(s3)
    with pytest.raises(ValueError, match=re.escape(expected)) as error:
        raw_of(tmp_path, url)
    one_line(error)


def test_files_and_urls_are_not_mixed_nor_shared(s3, tmp_path):
    with pytest.raises(ValueError, match="is a URL and") as error:
        raw_of(tmp_path / "a", "s3://text/corpus/*", "a.jsonl")
    one_line(error)
    raw = tmp_path / "b"
    raw.mkdir()
    both = {"train": "s3://text/corpus/*", "test": "s3://text/corpus/4.jsonl"}
    with pytest.raises(ValueError, match="is of train and of test; choose one"):
        make_raw("mine", {"kind": "files", "files": both}, tmp_path, raw)


def test_no_address_and_no_key_are_said(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{remote_servers.free_port()}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a")
    monkeypatch.setitem(client.RETRIES, "total_max_attempts", 1)
    with pytest.raises(ValueError, match=r"cannot be read or written .*Could not connect") as error:
        raw_of(tmp_path / "a", "s3://text/a.parquet")
    assert "run the same command again" in one_line(error)
    _fresh()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"is refused to you .*NoCredentials"):
        raw_of(tmp_path / "b", "s3://text/a.parquet")


def test_another_key_is_refused(s3, tmp_path):
    s3.key = "right"
    with pytest.raises(ValueError, match="is refused to you") as error:
        raw_of(tmp_path, "s3://text/corpus/1.parquet")
    assert "AWS_ACCESS_KEY_ID" in one_line(error)


@pytest.mark.parametrize("kind", ["slow_down", "cut", "fail"])
def test_what_passes_is_tried_again(s3, tmp_path, kind):
    raw = raw_of(tmp_path, "s3://text/corpus/*")
    s3.fault(kind, "GET /text/corpus/1", times=1)
    assert texts_of(raw) == TEXTS * 4


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("slow_down", "asks for fewer requests"),
        ("cut", "cannot be read"),
        ("fail", "cannot be read"),
        ("short", "its server sent"),
    ],
)
def test_what_does_not_pass_is_one_line(s3, tmp_path, monkeypatch, kind, expected):
    raw = raw_of(tmp_path, "s3://text/corpus/*")
    s3.fault(kind, "GET /text/corpus/1")
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    monkeypatch.setitem(client.RETRIES, "total_max_attempts", 1)
    _fresh()
    with pytest.raises(ValueError, match=expected) as error:
        texts_of(raw)
    assert "run the same command again: what is finished is kept" in one_line(error)


@pytest.mark.parametrize("name", KINDS)
def test_a_changed_object_is_refused(s3, tmp_path, name):
    raw = raw_of(tmp_path, "s3://text/corpus/*")
    flipped = bytearray(KINDS[name])
    flipped[len(flipped) // 2] ^= 1
    s3.put(f"text/corpus/{name}", bytes(flipped))
    with pytest.raises(ValueError, match=f"{name} has changed since it was found") as error:
        texts_of(raw)
    assert "`dvc repro --force download`" in one_line(error)


def test_an_object_that_changes_while_it_is_read_is_refused(s3, tmp_path):
    raw = raw_of(tmp_path, "s3://text/corpus/4.jsonl")

    class Changing(dict):
        def __getitem__(self, name: str) -> bytes:
            if [r for r in s3.requests if r.startswith("GET /text/corpus/4")]:
                s3.tags[name] = "another"
            return super().__getitem__(name)

    s3.requests.clear()
    s3.objects = Changing(s3.objects)
    with pytest.raises(ValueError, match="has changed since it was found"):
        texts_of(raw)


def test_a_server_without_tags_is_refused(tmp_path):
    (tmp_path / "1.parquet").write_bytes(KINDS["1.parquet"])
    handler = partial(_Quiet, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    with pytest.raises(ValueError, match="gives no length or no ETag") as error:
        raw_of(tmp_path, f"http://127.0.0.1:{server.server_port}/1.parquet")
    assert "put the file into source/" in one_line(error)
    server.shutdown()
    server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_a_dataset_at_urls_is_built_like_another(s3, tmp_path):
    folder = workspace(tmp_path / "clone")
    add_entry(folder, "far", "files", ['files: {train: "s3://text/corpus/*"}'])
    said = script(folder, "make_data", "far")
    assert f"{4 * len(TEXTS):,} documents" in said
    assert (folder / "data/far/source/.gitkeep").exists()
    built = hashes(folder / "data/far/bins")
    commit(folder)
    assert "nothing to do" in script(folder, "make_data", "far")
    assert "s3://text/corpus/*" in script(folder, "list_datasets")

    s3.put("text/corpus/4.jsonl", json_lines(["another"]))
    edit(folder / "params.yaml", "encoding: gpt2 ", "encoding: bytes ")
    said = script(folder, "make_data", "far", fails=True)
    assert said.count("\n") == 1
    assert "4.jsonl has changed since it was found" in said
    dvc(folder, "repro", "-q", "--force", "download@far")  # the cure
    edit(folder / "params.yaml", "encoding: bytes ", "encoding: gpt2 ")
    assert f"{3 * len(TEXTS) + 1:,} documents" in script(folder, "make_data", "far")
    assert hashes(folder / "data/far/bins") != built


def test_other_figures_of_it_are_those_of_local_files(s3, tmp_path):
    """Audit, selection and a vocabulary read the text, too."""
    folder = workspace(tmp_path / "clone")
    files = {"far": "s3://text/corpus/*", "near": "*"}
    for name, pattern in files.items():
        add_entry(folder, name, "files", [f'files: {{train: "{pattern}"}}'])
    source = folder / "data/near/source"
    source.mkdir(parents=True)
    for name, content in KINDS.items():
        (source / name).write_bytes(content)
    chosen = "{drop: [empty, duplicates], holdout: {validation: {last: 0.1}}, shuffle: 3}"
    edit(folder / "params.yaml", "select:\n", f"select:\n  far: {chosen}\n  near: {chosen}\n")
    edit(folder / "params.yaml", "encoding: gpt2 ", "encoding: bpe ")
    edit(folder / "params.yaml", "vocab_size: null ", "vocab_size: 300 ")
    made = {}
    for name in files:
        script(folder, "make_data", name)
        manifest = json.loads((folder / "data" / name / "bins/manifest.json").read_bytes())
        del manifest["dataset"], manifest["sha256"]
        metrics = hashes(folder / "metrics" / name)
        made[name] = manifest, metrics
    assert made["far"] == made["near"]
    assert os.listdir(folder / "data/far/raw") in (  # noqa: PTH208
        ["groups.json", "source.json"],
        ["source.json", "groups.json"],
    )
