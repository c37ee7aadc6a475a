"""Facts about sources on the hub: the real client against the stand-in, whole or refused in a line.

Each run is a process of its own, since the client reads its environment when it is imported.
"""

import errno
import fcntl
import gzip
import json
import os
import pty
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
import yaml
from filelock import FileLock

from slm.bins.manifest import read_manifest
from slm.bins.writing.from_tokens import write_bins
from slm.core.errors import UserError
from slm.core.files import to_json
from slm.text.corpus import make_raw
from slm.text.hub.pins import read_pins
from slm.text.hub.room import check_room, token_bytes, written_bytes
from slm.text.raw import read_source
from slm.tokens.token_files import make_tokens
from slm.tokens.vocabulary import load_encoding
from tests import workspace as workspaces
from tests.helpers import json_lines, parquet, texts_of
from tests.hub_faults import FaultyHub
from tests.workspace import ROOT, environment, hashes

REPO = "roneneldan/TinyStories"
TRAIN = [f"data/train-{i:05d}-of-00003-2d5a1467fff1081{i}.parquet" for i in range(3)]
VALIDATION = "data/validation-00000-of-00001-869c898b519ad725.parquet"
ENTRY = {
    "kind": "hub",
    "path": REPO,
    "revision": "main",
    "column": "text",
    "splits": ["train", "validation"],
}
DECOYS = {
    ".gitattributes": b"*.parquet filter=lfs\n",
    "README.md": b"---\nlicense: cdla-sharing-1.0\n---\n# TinyStories\n",
    "TinyStories-train.txt": b"of the first generation\n",
    "TinyStories-valid.txt": b"of the first generation\n",
    "TinyStoriesV2-GPT4-train.txt": b"of the second\n",
    "TinyStoriesV2-GPT4-valid.txt": b"of the second\n",
    "TinyStories_all_data.tar.gz": b"\x1f\x8b\x08",
    "embeddings.npy": b"\x93NUMPY",
    "Evaluation prompts.yaml": b"- Once upon a time\n",
}


def stories(start: int, number: int = 30) -> bytes:
    return parquet([f"Story {start + i} about a hill. " * 9 for i in range(number)])


DATA = {name: stories(100 * i) for i, name in enumerate(TRAIN)} | {VALIDATION: stories(900, 5)}
LAYOUT = DATA | DECOYS


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyHub]:
    with FaultyHub() as server:
        yield server


@pytest.fixture(scope="module")
def filled(server: FaultyHub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An HF_HOME that holds the whole of TinyStories; tests copy it."""
    folder = tmp_path_factory.mktemp("filled")
    server.publish(REPO, LAYOUT)
    assert download(server, folder).returncode == 0
    return folder / "home"


@pytest.fixture
def hub(server: FaultyHub, filled: Path) -> FaultyHub:
    """The stand-in with TinyStories published, no fault on, nothing asked yet."""
    server.repositories.clear()
    server.quiet()
    server.publish(REPO, LAYOUT)
    return server


@pytest.fixture
def warm(filled: Path, tmp_path: Path) -> Path:
    """A folder whose home/ holds the whole of TinyStories."""
    shutil.copytree(filled, tmp_path / "home", symlinks=True)
    return tmp_path


def prepare(folder: Path, entry: dict, pins: dict | None = None) -> Path:
    """A folder with params.yaml and the source of a dataset x; returns that source."""
    source = folder / "data/x/source"
    source.mkdir(parents=True, exist_ok=True)
    params = {"dataset": "x", "datasets": {"x": {**ENTRY, **entry}}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    if pins:
        (source / "pins.json").write_bytes(to_json(pins))
    return source


def start(
    hub: FaultyHub,
    folder: Path,
    *words: str,
    env: dict | None = None,
    python: Path = Path(sys.executable),
    **more,
):
    words = words or ("-m", "scripts.download", "x")
    variables = {**environment(ROOT), **hub.environment(folder / "home"), **(env or {})}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **more}
    return subprocess.Popen([str(python), *words], cwd=folder, env=variables, **pipes)


def download(
    hub: FaultyHub,
    folder: Path,
    *words: str,
    pins: dict | None = None,
    env: dict | None = None,
    **entry: object,
) -> subprocess.CompletedProcess:
    prepare(folder, entry, pins)
    process = start(hub, folder, *words, env=env, python=workspaces.PYTHON)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def fetched(hub: FaultyHub, folder: Path, **more) -> str:
    """What a run that succeeds says on standard error."""
    done = download(hub, folder, **more)
    assert done.returncode == 0, done.stderr
    return done.stderr


def refused(hub: FaultyHub, folder: Path, *words: str, **more) -> str:
    """The one line that a run that fails ends in; no text lands, and nothing else is said."""
    done = download(hub, folder, *words, **more)
    return one_line(done.returncode, done.stderr, folder)


def one_line(status: int, said: str, folder: Path) -> str:
    assert status == 1, said
    first, *rest = [line for line in said.splitlines() if not line.startswith("downloading ")]
    assert first.startswith("error: ") and not rest, said
    assert not (folder / "data/x/raw").exists()
    assert not list((folder / "home").rglob("*.incomplete"))
    return first


def pins_of(hub: FaultyHub, files: dict[str, bytes] = DATA, **more) -> dict:
    """True pins of what is published on main."""
    commit = hub.repositories[REPO].refs["main"]
    found = hub.repositories[REPO].commits[commit]
    splits: dict[str, list] = {"train": [], "validation": []}
    for name in files:
        file = {"name": name, "bytes": found[name].size, "sha256": found[name].sha256}
        splits["validation" if "validation" in name else "train"].append(file)
    rows = {"train": 90, "validation": 5}
    return {"path": REPO, "revision": commit, "files": splits, "rows": rows, **more}


def pinned(hub: FaultyHub, **more) -> dict:
    """Arguments of a run with true pins and params.yaml that names their commit."""
    pins = pins_of(hub, **more)
    return {"pins": pins, "revision": pins["revision"]}


# What waits or is tried again takes seconds of sleep: these runs sleep side by side. By name: the
# fault, the requests that meet it (of this case: {repo}, and its first {file}), how often.
LIST, CARD, TREE, FILE = "{repo}/revision/main", "HEAD .*{repo}/.*README", "{repo}/tree/", "{file}"
CASES = {
    "status-list": ("status", LIST, 99, {"value": 503}),
    "status-card": ("status", CARD, 99, {"value": 503}),
    "status-file": ("status", FILE, 99, {"value": 503}),
    "hang-list": ("hang", LIST, 99, {}),
    "hang-card": ("hang", CARD, 99, {}),
    "hang-tree": ("hang", TREE, 99, {}),
    "hang-file": ("hang", FILE, 99, {}),
    "cut-file": ("cut", FILE, 99, {"at": 500}),
    "reset-file": ("reset", FILE, 99, {"at": 500}),
    "cut-once": ("cut", FILE, 1, {"at": 500}),
    "reset-once": ("reset", FILE, 1, {"at": 500}),
    "status-once": ("status", FILE, 1, {"value": 500}),
}


OTHER_REVISION = "0123456789abcdef"


def of_case(name: str) -> dict[str, bytes]:
    """The files of a case: others than those of every other one, so that hashes tell them apart."""
    return {TRAIN[0]: stories(10_000 * [*CASES].index(name) + 10_000)} | {
        name: content for name, content in LAYOUT.items() if name != TRAIN[0]
    }


@pytest.fixture(scope="module", autouse=True)
def weather(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future]]:
    """Each case, run beside the other tests: exit status, standard error, folder, requests."""
    with FaultyHub() as hub, ThreadPoolExecutor(2) as pool:
        for name in CASES:
            hub.publish(f"case/{name}", of_case(name))
        folders = {name: tmp_path_factory.mktemp(name) for name in CASES}
        yield {name: pool.submit(_meet, hub, name, folders[name]) for name in CASES}


def _meet(hub: FaultyHub, name: str, folder: Path) -> tuple:
    kind, where, times, more = CASES[name]
    repo = f"case/{name}"
    file = next(iter(hub.repositories[repo].commits.values()))[TRAIN[0]].sha256
    hub.fault(kind, where.format(repo=repo, file=file), times, **more)
    cache = folder / f"home/datasets/case___{name}/default/0.0.0" / OTHER_REVISION
    cache.mkdir(parents=True)  # what `datasets` falls back on where the hub does not answer
    done = download(hub, folder, path=repo, env={"HF_HUB_DOWNLOAD_TIMEOUT": "1"})
    asked = [r for r in hub.requests if repo in r or file in r]
    return done.returncode, done.stderr, folder, asked


def asked_files(hub: FaultyHub) -> int:
    return sum(request.startswith("GET /files/") for request in hub.requests)


# ---- what arrives ----


def test_files_arrive_as_published_and_equal_those_of_a_files_source(hub, tmp_path):
    said = fetched(hub, tmp_path)
    assert said.startswith("downloading 4 files, ") and str(tmp_path / "home/hub") in said
    raw, source = tmp_path / "data/x/raw", tmp_path / "own"
    for name, content in DATA.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    (tmp_path / "raw").mkdir()
    files = {"train": ["data/train-*"], "validation": ["data/validation-*"]}
    make_raw("x", {"kind": "files", "files": files}, source, tmp_path / "raw")
    strip = {"source.json", "pins.json"}
    assert {k: v for k, v in hashes(raw).items() if k not in strip} == {
        k: v for k, v in hashes(tmp_path / "raw").items() if k not in strip
    }
    found = read_source(raw)
    assert found.pop("splits") == read_source(tmp_path / "raw")["splits"]
    commit = hub.repositories[REPO].refs["main"]
    named = {"name": "x", "kind": "hub", "column": "text", "path": REPO, "revision": commit}
    assert found == named
    blobs = list((tmp_path / "home").rglob("blobs/*"))
    assert all(f.stat().st_nlink == 2 for f in raw.glob("*.parquet")) and len(blobs) == 5


def test_each_revision_gives_its_own_bytes(hub, warm):
    old = {TRAIN[0]: stories(5000), VALIDATION: stories(6000)}
    commit = hub.publish(REPO, old | DECOYS, branch="v1")
    fetched(hub, warm, revision="v1")
    assert (warm / "data/x/raw/train-00000-of-00001.parquet").read_bytes() == old[TRAIN[0]]
    assert read_source(warm / "data/x/raw")["revision"] == commit


def test_json_lines_arrive_too_and_a_later_file_of_csv_is_no_matter(hub, tmp_path):
    lines = json_lines(["one", "", "three"])
    files = {"train.jsonl": lines, "validation.jsonl.gz": gzip.compress(lines), "x.csv": b"a\n"}
    hub.publish("a/lines", files)
    fetched(hub, tmp_path, path="a/lines")
    raw = tmp_path / "data/x/raw"
    assert (raw / "train-00000-of-00001.jsonl").read_bytes() == lines
    splits = read_source(raw)["splits"]
    assert [splits[s]["files"][0]["rows"] for s in ENTRY["splits"]] == [3, 3]


def test_without_pins_a_file_of_pins_is_offered_and_is_right(hub, tmp_path):
    said = fetched(hub, tmp_path)
    assert "not pinned: `cp data/x/raw/pins.json data/x/source/`" in said
    pins = json.loads((tmp_path / "data/x/raw/pins.json").read_bytes())
    hub.quiet()
    assert fetched(hub, tmp_path, pins=pins, revision=pins["revision"]) == ""
    assert hub.requests == []


# ---- pins and the cache ----


@pytest.mark.parametrize("env", [{}, {"HF_HUB_OFFLINE": "1"}])
def test_pinned_files_in_the_cache_are_used_and_the_hub_is_not_asked(hub, warm, env):
    tokens = {"gpt2": {"train": 9, "validation": 9}}
    assert fetched(hub, warm, **pinned(hub, tokens=tokens), env=env) == ""
    assert hub.requests == []
    assert read_source(warm / "data/x/raw")["expected_tokens"] == tokens


def test_a_corrupt_byte_in_the_cache_is_found_removed_and_fetched_again(hub, warm):
    blob = next((warm / "home").rglob(f"snapshots/*/{TRAIN[1]}")).resolve()
    whole = blob.read_bytes()
    blob.write_bytes(whole[:99] + bytes([whole[99] ^ 4]) + whole[100:])
    more = pinned(hub)
    said = refused(hub, warm, **more)
    assert re.search(rf"{TRAIN[1]} has SHA-256 \w{{64}}, pins.json expects {blob.name}", said)
    assert hub.requests == [] and not blob.exists()
    fetched(hub, warm, **more)
    assert asked_files(hub) == 1 and blob.read_bytes() == whole


def test_what_is_finished_is_not_fetched_again_and_the_preflight_says_so(hub, warm):
    next((warm / "home").rglob(f"snapshots/*/{TRAIN[1]}")).resolve().unlink()
    said = fetched(hub, warm, **pinned(hub))
    assert re.match(r"downloading 4 files, \S+ MB \(of which \S+ MB are in the cache\) to ", said)
    assert asked_files(hub) == 1


@pytest.mark.parametrize(
    ("key", "value"), [("path", "other/name"), ("revision", "0" * 40), ("revision", "main")]
)
def test_pins_of_another_path_or_revision_are_refused(hub, tmp_path, key, value):
    pins = pins_of(hub)
    said = refused(hub, tmp_path, pins={**pins, key: value}, revision=pins["revision"])
    assert value in said and pins.get(key) in said and hub.requests == []


def test_true_pins_refuse_other_bytes_before_they_are_downloaded(hub, tmp_path):
    source = ROOT / "data/tinystories/source/pins.json"
    pins = json.loads(source.read_bytes())
    names = [file["name"] for files in pins["files"].values() for file in files]
    files = {name: stories(i) for i, name in enumerate(names)}
    hub.publish(REPO, files | DECOYS, commit=pins["revision"])
    said = refused(hub, tmp_path, pins=pins, revision=pins["revision"])
    assert names[0] in said and pins["files"]["train"][0]["sha256"] in said
    assert asked_files(hub) == 0


def test_our_own_pins_agree_with_our_own_params_and_the_published_counts():
    entry = yaml.safe_load((ROOT / "params.yaml").read_text())["datasets"]["tinystories"]
    pins = read_pins(entry, ROOT / "data/tinystories/source/pins.json")
    assert pins.tokens == {"gpt2": {"train": 471_872_517, "validation": 4_743_928}}
    assert pins.rows == {"train": 2_119_719, "validation": 21_990}
    assert sum(file["bytes"] for file in pins.files["train"]) == 990_786_315


def test_a_pinned_shard_that_is_not_published_is_named(hub, tmp_path):
    more = pinned(hub)
    commit = more["revision"]
    hub.publish(REPO, {k: v for k, v in LAYOUT.items() if k != TRAIN[2]}, commit=commit)
    assert f"{TRAIN[2]} of train is pinned and is not published" in refused(hub, tmp_path, **more)


def test_a_published_shard_that_is_not_pinned_is_named(hub, tmp_path):
    more = pinned(hub)
    del more["pins"]["files"]["train"][1]
    assert f"{TRAIN[1]} of train is published, and" in refused(hub, tmp_path, **more)


def test_rows_are_counted_against_the_pins(hub, warm):
    more = pinned(hub)
    more["pins"]["rows"]["train"] = 91
    said = refused(hub, warm, **more)
    assert "train has 90 rows in 3 files, data/x/source/pins.json expects 91" in said
    more["pins"]["files"]["train"][1]["rows"] = 31
    assert f"{TRAIN[1]} has rows 30, pins.json expects 31" in refused(hub, warm, **more)


@pytest.mark.parametrize("text", ["", "[]", '{"path": 1}', '{"path": "roneneldan/TinyStories"'])
def test_pins_that_cannot_be_read_are_refused(tmp_path, text):
    (tmp_path / "pins.json").write_text(text)
    with pytest.raises(UserError, match=r"pins\.json"):
        read_pins(ENTRY, tmp_path / "pins.json")


WHOLE = {"name": "data/a.parquet", "bytes": 1, "sha256": "0" * 64}
PINS = {"path": REPO, "revision": "0" * 40, "files": {"train": [WHOLE]}}


@pytest.mark.parametrize(
    "wrong",
    [
        *({"rows": rows} for rows in ([1], {"train": "90"}, {"trian": 90})),
        *({"tokens": tokens} for tokens in ([1], None, {"gpt2": 5}, {"gpt2": {"train": "5"}})),
        *({"files": {"train": [{**WHOLE, "bytes": size}]}} for size in (None, "12", -1)),
        *({"files": {"train": [{**WHOLE, "name": name}]}} for name in (1, "README.md")),
        {"files": {"train": [{**WHOLE, "sha256": "abc"}]}},
        {"files": {"train": [WHOLE, WHOLE]}},
        {"config": "another"},
    ],
)
def test_pins_that_mean_nothing_are_refused_before_anything_is_removed(tmp_path, wrong):
    entry = {**ENTRY, "revision": "0" * 40, "splits": ["train"]}
    place = tmp_path / "pins.json"
    place.write_text(json.dumps(PINS))
    assert read_pins(entry, place).files["train"] == [{**WHOLE, "rows": None}]
    place.write_text(json.dumps({**PINS, **wrong}))
    with pytest.raises(UserError, match=r"pins\.json"):
        read_pins(entry, place)


# ---- bytes on their way ----


def test_a_small_file_that_git_holds_is_checked_by_git_s_hash(hub, tmp_path):
    revision = hub.publish("a/small", {"train.jsonl": json_lines(["one", "two"])})
    hub.fault("flip", "GET .*train.jsonl", times=1, at=11)
    more = {"path": "a/small", "revision": revision, "splits": ["train"]}
    assert "train.jsonl has git's hash" in refused(hub, tmp_path, **more)
    assert download(hub, tmp_path, **more).returncode == 0


@pytest.mark.parametrize(("kind", "pins"), [("flip", True), ("flip", False), ("other", False)])
def test_bytes_changed_in_flight_are_refused_and_the_next_run_is_well(hub, tmp_path, kind, pins):
    more = pinned(hub) if pins else {}
    hub.fault(kind, "GET /files/", times=1, at=50)
    said = refused(hub, tmp_path, **more)
    who = "pins.json expects" if pins else "the hub announced"
    assert f"{TRAIN[0]} has SHA-256 " in said and who in said and "run this again" in said
    fetched(hub, tmp_path, **more)
    assert (tmp_path / "data/x/raw/train-00000-of-00003.parquet").read_bytes() == DATA[TRAIN[0]]


def test_what_fails_once_is_made_good_within_the_run(weather):
    for kind in ("cut", "reset", "status"):
        status, said, folder, asked = weather[f"{kind}-once"].result()
        assert status == 0, said
        assert len([request for request in asked if request.startswith("GET /files/")]) == 2
        raw = folder / "data/x/raw/train-00000-of-00003.parquet"
        assert raw.read_bytes() == of_case(f"{kind}-once")[TRAIN[0]]


def test_a_killed_download_goes_on_with_the_files_that_were_finished(hub, tmp_path):
    third = hub.repositories[REPO].commits[hub.repositories[REPO].refs["main"]][TRAIN[2]].sha256
    hub.fault("hang", f"GET /files/{third}", times=1, at=100)
    prepare(tmp_path, {})
    process = start(hub, tmp_path)
    wait_for(lambda: any(third in request for request in hub.requests))
    process.kill()
    process.communicate()
    (partial,) = (tmp_path / "home").rglob("*.incomplete")
    blobs = partial.parent
    held = blobs / f"{'a' * 64}.0123abcd.incomplete"  # of a process that is at work
    held.touch()
    locks = tmp_path / "home/hub/.locks" / blobs.parent.name
    hub.quiet()
    with FileLock(locks / f"{'a' * 64}.lock"):
        fetched(hub, tmp_path)
        assert held.exists() and not partial.exists()
    assert asked_files(hub) == 2
    fetched(hub, tmp_path)
    assert not held.exists()


def wait_for(fact) -> None:
    until = time.monotonic() + 30
    while not fact():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


@pytest.mark.parametrize("where", ["GET /files/", "GET /api/.*/tree/"])
def test_ctrl_c_ends_in_one_line_and_leaves_no_partial_file(hub, tmp_path, where):
    hub.fault("hang", where, at=100 if "files" in where else 0)
    prepare(tmp_path, {})
    process = start(hub, tmp_path)
    wait_for(lambda: any(re.search(where, request) for request in hub.requests))
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=15)
    assert "interrupted" in one_line(process.returncode, said, tmp_path)


# ---- failures, each in one line ----


def test_no_network_is_said_within_five_seconds(hub, tmp_path):
    began = time.monotonic()
    said = refused(hub, tmp_path, env={"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert time.monotonic() - began < 5
    assert "the hub cannot be reached at http://127.0.0.1:9" in said


def test_offline_and_not_in_the_cache(hub, tmp_path):
    said = refused(hub, tmp_path, env={"HF_HUB_OFFLINE": "1"}, **pinned(hub))
    assert "HF_HUB_OFFLINE or HF_DATASETS_OFFLINE is set" in said and hub.requests == []


def test_a_name_misspelt(hub, tmp_path):
    said = refused(hub, tmp_path, path="roneneldan/TinyStoreis")
    assert "the hub has no roneneldan/TinyStoreis at" in said
    assert "the hub has no a/b/c at" in refused(hub, tmp_path, path="a/b/c")


def test_a_revision_unknown(hub, tmp_path):
    assert f"the hub has no {REPO} at v9" in refused(hub, tmp_path, revision="v9")


def test_a_private_dataset_needs_a_token_which_goes_to_the_hub_alone(hub, tmp_path):
    hub.publish("a/secret", LAYOUT, private=True)
    assert "`hf auth login`" in refused(hub, tmp_path, path="a/secret")
    hub.quiet()
    fetched(hub, tmp_path, path="a/secret", env={"HF_TOKEN": "hf_abc"})
    for request, token in hub.tokens:
        assert token == (None if "/files/" in request else "Bearer hf_abc")


def test_a_gated_dataset(hub, tmp_path):
    hub.publish("a/gate", LAYOUT, gated=True)
    said = refused(hub, tmp_path, path="a/gate")
    assert "of a/gate to you (HTTP 403); ask for access" in said and "`hf auth login`" in said


@pytest.mark.parametrize("where", ["list", "card", "file"])
def test_a_server_out_of_order_is_asked_three_times(weather, where):
    status, said, folder, asked = weather[f"status-{where}"].result()
    assert "the hub fails (HTTP 503 for " in one_line(status, said, folder)
    kind = {"list": "GET .*/revision/main", "card": "HEAD .*README", "file": "GET /files/"}[where]
    assert sum(bool(re.match(kind, request)) for request in asked) == 3


@pytest.mark.parametrize("where", ["list", "card", "tree", "file"])
def test_a_hub_that_takes_connections_and_says_nothing(weather, where):
    status, said, folder, _ = weather[f"hang-{where}"].result()
    assert "the hub cannot be reached at http" in one_line(status, said, folder)
    assert "cannot be reached" in said


@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_a_connection_that_is_always_cut(weather, kind):
    status, said, folder, _ = weather[f"{kind}-file"].result()
    assert "the hub cannot be reached at http" in one_line(status, said, folder)
    assert TRAIN[0] in said


def test_a_file_that_is_listed_and_not_there(hub, tmp_path):
    hub.fault("missing", f"HEAD /datasets/.*{TRAIN[1]}")
    assert f"does not serve {TRAIN[1]}" in refused(hub, tmp_path)


# The disk is full in the client, which wraps what the system says or does not.
FULL = """
import errno, runpy, sys
import huggingface_hub.file_download as client
def full(*args, **more):
    try:
        raise OSError(errno.ENOSPC, "No space left on device")
    except OSError as error:
        raise {raised} from error
client.http_get = full
sys.argv = ["download", "x"]
runpy.run_module("scripts.download", run_name="__main__")
"""


@pytest.mark.parametrize("raised", ["error", "RuntimeError('Xet: something')"])
def test_a_full_disk(hub, tmp_path, raised):
    said = refused(hub, tmp_path, "-c", FULL.format(raised=raised))
    assert f"the disk of {tmp_path}/home/hub is full" in said


def test_a_disk_that_is_really_full(hub, tmp_path):
    disk = tmp_path / "home"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs root and the right to mount a tmpfs")
    try:
        texts = [random.Random(1).randbytes(100_000).hex()]
        hub.publish("a/big", {TRAIN[0]: parquet(texts, compression="none"), VALIDATION: stories(1)})
        script = ROOM.format(free=10**9)
        said = refused(hub, tmp_path, "-c", script, path="a/big")
        assert f"the disk of {disk}/hub is full" in said
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# ---- guards ----


def test_a_folder_of_the_same_name_does_not_shadow_the_hub(hub, tmp_path):
    (tmp_path / REPO / "data").mkdir(parents=True)
    (tmp_path / REPO / "data/train.jsonl").write_text('{"text": "another"}\n')
    said = refused(hub, tmp_path)
    assert "which is not from there; move the folder roneneldan/TinyStories" in said


def test_another_revision_in_the_cache_of_datasets_is_never_taken(weather):
    status, said, folder, _ = weather["status-card"].result()
    assert list((folder / "home/datasets").rglob(OTHER_REVISION))
    assert "the hub fails (HTTP 503" in one_line(status, said, folder)


@pytest.mark.parametrize("name", ["train.tsv", "train.xml", "train.jsonl.xz"])
@pytest.mark.parametrize("files", [None, {"train": "train*"}])
def test_another_kind_of_file_is_refused_by_name(hub, tmp_path, name, files):
    hub.publish("a/table", {name: b'{"text": "a"}\n', "README.md": b"# table\n"})
    said = refused(hub, tmp_path, path="a/table", splits=["train"], files=files)
    assert f"a/table/{name} is of no kind that is read here (.parquet, .arrow, .txt, and" in said


# ---- which files, and of which kind ----

TEXTS = ["One.\n\nAnd more.", "Two, “quoted”.", "Three."]
END = "<|endoftext|>"
SHAPES = {
    "train.txt": "".join(f"{text}\n{END}\n" for text in TEXTS).encode(),
    "train.json.gz": gzip.compress(json_lines(TEXTS)),
    "train.jsonl.zst": pa.compress(json_lines(TEXTS), "zstd", asbytes=True),
    "train.json": json.dumps([{"text": text} for text in TEXTS]).encode(),
    "train.csv": ("text\n" + "".join(f'"{text}"\n' for text in TEXTS)).encode(),
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_kind_of_file_arrives_and_its_pins_hold(hub, tmp_path, name):
    hub.publish("a/shapes", {name: SHAPES[name], "other.txt": b"not chosen"})
    more = {"separator": END, "strip": True} if name.endswith(".txt") else {}
    entry = {"path": "a/shapes", "splits": ["train"], "files": {"train": "train.*"}, **more}
    fetched(hub, tmp_path, **entry)
    raw = tmp_path / "data/x/raw"
    assert texts_of(raw) == TEXTS and (raw / "source.json").read_bytes().count(name.encode()) == 1
    pins = json.loads((raw / "pins.json").read_bytes())
    hub.quiet()
    assert fetched(hub, tmp_path, pins=pins, **{**entry, "revision": pins["revision"]}) == ""
    assert hub.requests == []
    assert pins["files"]["train"][0]["rows"] == 3
    pins["files"]["train"][0]["rows"] = 4
    shutil.rmtree(raw)
    said = refused(hub, tmp_path, pins=pins, **{**entry, "revision": pins["revision"]})
    assert f"{name} has rows 3, pins.json expects 4; correct pins.json" in said


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"train": [TRAIN[2], "data/train-00000*"], "validation": VALIDATION}, [2, 0]),
        ({"train": "*-00001-of-00003*", "validation": "data/val*"}, [1]),
        (2, [0, 1]),
        (9, [0, 1, 2]),
    ],
)
def test_the_files_of_a_split_can_be_chosen(hub, warm, files, expected):
    fetched(hub, warm, files=files)
    splits = read_source(warm / "data/x/raw")["splits"]
    assert [file["name"] for file in splits["train"]["files"]] == [TRAIN[i] for i in expected]
    assert [file["name"] for file in splits["validation"]["files"]] == [VALIDATION]


def test_files_that_are_not_there_are_said_with_those_that_are(hub, tmp_path):
    said = refused(hub, tmp_path, files={"train": "data/trian*", "validation": VALIDATION})
    assert f"files: 'data/trian*' matches nothing of {REPO}, which has .gitattributes, " in said
    said = refused(hub, tmp_path, files={"train": "data/train*"})
    assert "`files` names none of split validation; add patterns" in said
    said = refused(hub, tmp_path, files={"train": "data/*", "validation": VALIDATION})
    assert f"{VALIDATION} is in more than one split" in said


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (2, "has 3 files of train, `files` in params.yaml says 2"),
        ({"train": TRAIN[:2], "validation": VALIDATION}, f"has {TRAIN[2]} of train, which `files`"),
        ({"train": TRAIN}, f"has {VALIDATION} of validation, which `files`"),
    ],
)
def test_pins_of_other_files_than_are_chosen_are_refused_in_the_cache_too(hub, warm, files, says):
    assert says in refused(hub, warm, files=files, **pinned(hub))


def test_a_dataset_of_several_configs_needs_one(hub, tmp_path):
    configs = [{"config_name": name, "data_files": "data/train*"} for name in "ab"]
    card = "---\n" + yaml.safe_dump({"configs": configs}) + "---\n"
    hub.publish("a/two", {**DATA, "README.md": card.encode()})
    more = {"path": "a/two", "splits": ["train"]}
    said = refused(hub, tmp_path, **more)
    assert (
        "Config name is missing" in said
        and "`config` in params.yaml" in said
        and "['a', 'b']" in said
    )
    fetched(hub, tmp_path, config="a", **more)
    found = read_source(tmp_path / "data/x/raw")
    assert found["config"] == "a" and list(found["splits"]) == ["train"]


def test_a_split_that_is_not_there_is_said_with_those_that_are(hub, tmp_path):
    said = refused(hub, tmp_path, splits=["train", "test"])
    assert "has no split test, only train, validation" in said


def test_a_column_that_is_not_there(hub, warm):
    assert f"{TRAIN[0]} has no column 'story', only 'id', 'text'; name the one" in refused(
        hub, warm, column="story"
    )


LONG = [random.Random(5).randbytes(900_000).hex(), "Two."]  # 1.8 MB; packed still 0.9
LARGE = {
    "train.parquet": parquet(LONG * 2),
    "train.jsonl": json_lines(["One.", *LONG]),
    "train.jsonl.gz": gzip.compress(b"\xef\xbb\xbf" + json_lines(["One.", *LONG, *LONG])),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_column_that_is_not_there_is_said_before_a_large_file_is_downloaded(hub, tmp_path, name):
    assert len(LARGE[name]) > 2**20
    hub.publish("a/large", {f"data/{name}": LARGE[name]})
    entry = {"path": "a/large", "splits": ["train"]}
    said = refused(hub, tmp_path, column="story", **entry)
    assert f"data/{name} has no column 'story', only " in said.removeprefix("error: row 1 of ")
    assert said.endswith("name the one with text: `column:` in params.yaml")
    large = [file for file in (tmp_path / "home").rglob("*") if file.stat().st_size > 10_000]
    assert not large and "downloading" not in said
    fetched(hub, tmp_path, **entry)


def test_a_server_out_of_order_is_said_of_the_part_of_a_large_file(hub, tmp_path):
    hub.publish("a/large", {"data/train.parquet": LARGE["train.parquet"]})
    hub.fault("status", "GET /files/", times=99, value=503)
    said = refused(hub, tmp_path, path="a/large", splits=["train"])
    assert said.startswith("error: the hub fails (HTTP 503 for data/train.parquet, three times)")
    assert asked_files(hub) == 3
    download_ = re.compile("HEAD .*train.parquet")  # with which a download begins
    assert not any(map(download_.match, hub.requests))


def test_a_wrong_column_of_a_later_file_is_said_before_that_one_is_downloaded(hub, tmp_path):
    wrong = parquet(LONG * 2, column="tixt")
    for first in (stories(1), LARGE["train.parquet"]):
        files = {"data/train-0.parquet": first, "data/train-1.parquet": wrong}
        hub.publish("a/later", files)
        said = refused(hub, tmp_path, path="a/later", splits=["train"])
        assert "data/train-1.parquet has no column 'text', only 'id', 'tixt'; name the one" in said
        fetched_ = [file.read_bytes() for file in (tmp_path / "home").rglob("blobs/*")]
        assert first in fetched_ and wrong not in fetched_


@pytest.mark.parametrize("fault", ["footer", "cut"])
def test_a_large_file_that_is_damaged_is_said_of_the_file(hub, tmp_path, fault):
    content = LARGE["train.parquet"]
    wrong = content[:-400] + bytes(range(100)) * 3 + content[-100:]
    content = content[:-50] if fault == "cut" else wrong
    hub.publish("a/damaged", {"data/train.parquet": content})
    said = refused(hub, tmp_path, path="a/damaged", splits=["train"])
    assert "data/train.parquet" in said and "cannot be read as Parquet" in said


def test_names_of_the_hub_choose_no_place_of_ours(hub, tmp_path):
    hub.publish("a/evil", {"data/../../../../train-evil.parquet": stories(1), **DECOYS})
    done = download(hub, tmp_path, path="a/evil", splits=["train"])
    assert "Traceback" not in done.stderr
    evil = [path for path in tmp_path.rglob("*evil*") if "home/hub/" not in str(path)]
    assert evil == []


# ---- room and progress ----

ROOM = """
import os, runpy, shutil, sys
from collections import namedtuple
shutil.disk_usage = lambda path: namedtuple("usage", "total used free")(0, 0, {free})
sys.argv = ["download", "x"]
runpy.run_module("scripts.download", run_name="__main__")
"""


def test_no_room_for_the_whole_way_is_said_with_the_gigabytes(hub, tmp_path):
    pins = pinned(hub, tokens={"gpt2": {"train": 10**9, "validation": 10**6}})
    said = refused(hub, tmp_path, "-c", ROOM.format(free=5_900_000_000), **pins)
    assert f"{REPO} needs 6.0 GB on the disk of " in said and "5.9 GB are free" in said
    assert asked_files(hub) == 0


def test_what_will_be_replaced_counts_as_room(tmp_path, monkeypatch):
    monkeypatch.setattr("slm.text.hub.room.hub_cache", lambda: tmp_path / "home")
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match=r"needs 0\.0 MB on the disk of"):
        check_room("a/b", 100, 500, 400, tmp_path)
    (tmp_path / "bins").mkdir()
    (tmp_path / "bins/train.bin").write_bytes(bytes(150))  # and DVC has its copy
    check_room("a/b", 100, 500, 400, tmp_path)


@pytest.mark.parametrize(
    ("name", "free", "fits"),
    [
        ("a.parquet", 100 + 300, True),
        ("a.txt", 100 + 150 + 99, False),
        ("a.txt", 100 + 150 + 100, True),
        ("a.csv.gz", 100 + 450 + 299, False),
        ("a.csv.gz", 100 + 450 + 300, True),
    ],
)
def test_text_that_is_written_counts_as_room(tmp_path, monkeypatch, name, free, fits):
    monkeypatch.setattr("slm.text.hub.room.hub_cache", lambda: tmp_path / "home")
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    files = [SimpleNamespace(name=name, bytes=100)]
    room = (100, 100, token_bytes(files, None), tmp_path, written_bytes(files))
    with nullcontext() if fits else pytest.raises(UserError, match="of text, "):
        check_room("a/b", *room)


def test_a_cache_on_another_disk_is_counted_apart_and_copied(hub, tmp_path):
    shm = Path("/dev/shm")  # noqa: S108
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs /dev/shm on a disk of its own")
    home = shm / f"slm-test-{os.getpid()}"
    try:
        env = {"HF_HOME": str(home)}
        free = ROOM.format(free="10 if 'shm' in str(path) else 10**9")
        assert "on the disk of /dev/shm/" in refused(hub, tmp_path, "-c", free, env=env)
        fetched(hub, tmp_path, env=env)
        found = (tmp_path / "data/x/raw").glob("*.parquet")
        assert [f.stat().st_nlink for f in found] == [1] * 4
    finally:
        shutil.rmtree(home, ignore_errors=True)


def test_a_terminal_sees_the_name_the_bytes_the_speed_and_the_time_left(hub, tmp_path):
    texts = [random.Random(1).randbytes(2_500_000).hex()]
    hub.publish("a/big", {TRAIN[0]: parquet(texts, compression="none"), VALIDATION: stories(1)})
    hub.fault("slow", "GET /files/", at=0, value=1_500_000)
    prepare(tmp_path, {"path": "a/big"})
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = start(hub, tmp_path, stderr=theirs)
    os.close(theirs)
    shown = bytearray()
    reader = threading.Thread(target=_read_all, args=(ours, shown))
    reader.start()
    assert process.wait(30) == 0
    reader.join()
    name = TRAIN[0].removeprefix("data/")
    assert re.search(rf"{name} \d.\d\dM/5.00M +\S+MB/s 00:0\d left", shown.decode())


def _read_all(terminal: int, shown: bytearray) -> None:
    try:
        while part := os.read(terminal, 10_000):
            shown += part
    except OSError as error:  # what Linux says at the end
        assert error.errno == errno.EIO


# ---- expected tokens ----


def test_the_bins_stage_compares_the_tokens_with_the_pinned_counts(tmp_path):
    source, raw, tokens = tmp_path / "source", tmp_path / "raw", tmp_path / "tokens"
    for folder in (source, raw, tokens):
        folder.mkdir()
    (source / "a.jsonl").write_bytes(json_lines(["One two three.", "Four."]))
    made = make_raw("x", {"kind": "files", "files": {"train": ["*.jsonl"]}}, source, raw)
    vocabulary = load_encoding("gpt2")
    for counts, folder in [({"train": 6}, "well"), ({"validation": 1}, "other"), ({}, "none")]:
        (raw / "source.json").write_bytes(to_json({**made, "expected_tokens": {"gpt2": counts}}))
        shutil.rmtree(tokens)
        tokens.mkdir()
        (tmp_path / folder).mkdir()
        make_tokens(raw, vocabulary, tokens, "tiktoken", 1)
        write_bins(tokens, tmp_path / folder, "append")
        assert "expected_tokens" not in read_manifest(tmp_path / folder)["dataset"]
    assert hashes(tmp_path / "well") == hashes(tmp_path / "none")
    found = json.loads((tokens / "tokens.json").read_bytes())
    found["source"]["expected_tokens"] = {"gpt2": {"train": 7}}
    (tokens / "tokens.json").write_bytes(to_json(found))
    with pytest.raises(UserError, match=r"train has 6 tokens, its pins\.json expects 7;"):
        write_bins(tokens, tmp_path / "none", "none")
