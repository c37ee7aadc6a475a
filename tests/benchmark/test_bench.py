"""Facts about the benchmark of batches: what it needs, what it reports, and what it refuses."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from benchmark.batches import loaders, timing
from benchmark.batches.batches import check_same, measure_batches
from benchmark.batches.batches_table import batches_table
from benchmark.batches.loaders import LOADERS, Task
from benchmark.batches.memory import PROC, private_bytes
from benchmark.batches.synthetic import synthetic
from scripts.benchmark import main
from slm.batching.sampling import plan, starts
from slm.bins.opening import open_bins
from slm.bins.verifying import damage
from slm.training.hardware import kebab
from slm.training.settings import SECTIONS, read_settings
from tests.helpers import one_line
from tests.workspace import ROOT, edit, environment

pytestmark = pytest.mark.slow  # whole benchmarks, small

TOKENS = 300_000
SYNTHETIC = "f566c5191493408f188d8f55477b498f2857490af30730257291109f944ee09b"  # of the manifest
ABSENT = ("yaml", "pyarrow", "tqdm", "psutil", "matplotlib", "dvc", "tiktoken", "datasets")
WITHOUT = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({ABSENT}))  # None: importing it raises ImportError
sys.argv[0] = "benchmark"
runpy.run_module("scripts.benchmark", run_name="__main__", alter_sys=True)
"""
CPU = torch.device("cpu")
WAYS = [name for name in LOADERS if name != "graph" or torch.cuda.is_available()]
KEYS = {
    "us", "us_min", "us_max", "p50_us", "p99_us", "tokens_s", "bus_bytes", "device_mb", "host_mb",
    "of_copy", "times",
}  # fmt: skip


def benchmark(*words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", WITHOUT, *map(str, words)]
    return subprocess.run(
        command, cwd=ROOT, env=environment(ROOT), capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, str, Path]:
    """The result of a quick run with NumPy and PyTorch alone, what it printed, and its folder."""
    out = tmp_path_factory.mktemp("bench") / "results"
    done = benchmark("--synthetic", TOKENS, "--quick", "--no-steps", "--out", out)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stdout, out


@pytest.fixture(scope="module")
def bins():
    with synthetic(TOKENS) as folder:
        yield folder


# --- the whole ---


def test_it_needs_numpy_and_pytorch_alone_and_keeps_what_its_last_line_says(ran):
    result, _, out = ran
    (file,) = out.iterdir()
    assert file.name == f"{kebab(result['device'])}.json"
    assert json.loads(file.read_text()) == result


def test_every_loader_of_every_shape_is_reported(ran):
    result, said, _ = ran
    keys = "device", "kind", "machine", "data", "quick", "digest", "ceiling", "batches"
    assert (*result,) == keys and result["quick"] is True
    assert result["data"]["name"] == "synthetic" and result["data"]["tokens"] == TOKENS
    shapes = {
        f"{b}x{t}": b * t for b, t in read_settings(ROOT / "params.yaml")["benchmark"]["shapes"]
    }
    least = TOKENS if result["kind"] == "cuda" else 2**16 + 1
    assert [*result["batches"]] == [name for name, tokens in shapes.items() if tokens < least]
    for shape, found in result["batches"].items():
        assert [*found] == WAYS
        for name, row in found.items():
            assert row.keys() == KEYS, (shape, name)
            assert row["us_min"] <= row["us"] <= row["us_max"]
            assert row["p50_us"] <= row["p99_us"]
            assert row["tokens_s"] == pytest.approx(shapes[shape] / row["us"] * 1e6, rel=1e-4)
            assert row["times"] == pytest.approx(found["notebook"]["us"] / row["us"], rel=1e-4)
    for name in shapes.keys() - result["batches"].keys():
        assert f"{name}: left out" in said


def test_the_table_is_for_people(ran):
    result, said, _ = ran
    table = said.splitlines()[:-1]
    assert max(map(len, table)) <= 100
    assert [line.split()[0] for line in table if "min to max  " in line] == [*result["batches"]]
    for name in WAYS:
        rows = [line for line in table if line.startswith(f"{name} ")]
        assert len(rows) == len(result["batches"])
    assert ("no GPU here" in said) == (result["kind"] == "cpu")
    assert "no figures to keep" in said


def test_the_digest_is_of_the_batches_that_the_order_states(ran, bins):
    found = dict(ran[0]["digest"])
    assert found.pop("steps") == 100
    wanted, sha256 = hashlib.sha256(), found.pop("sha256")
    assert found == read_settings(ROOT / "params.yaml")["batching"]
    ids, size = open_bins(bins).ids("train"), found["block_size"]
    order = plan(found["order"], found["seed"], TOKENS, size)
    for step in range(100):
        first = starts(order, step, found["batch_size"])[0]
        for shift in (0, 1):
            rows = [ids[start + shift : start + shift + size] for start in first]
            wanted.update(np.stack(rows).astype("<i8").tobytes())
    assert sha256 == wanted.hexdigest()


def test_another_digest_is_named():
    with pytest.raises(AssertionError, match="host placement on cuda has b"):
        check_same({"host placement on cpu": "a", "x": "a", "host placement on cuda": "b"})


def test_a_folder_without_bins_is_one_line(tmp_path):
    done = benchmark("--bins", "nowhere", "--quick", "--no-steps", "--out", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: nowhere/manifest.json not found")
    assert done.stderr.count("\n") == 1
    assert [*tmp_path.iterdir()] == []


def test_a_result_without_a_place_is_refused_before_anything_is_measured(tmp_path):
    (tmp_path / "file").touch()
    done = benchmark("--bins", "nowhere", "--out", tmp_path / "file")
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path}/file: File exists; name another folder with --out\n"


@pytest.mark.parametrize("words", [
    ["nosuch"], ["--synthetic", "100"], ["--synthetic", "16384"], ["--synthetic", "9" * 18],
])  # fmt: skip
def test_what_cannot_be_measured_is_refused(words, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["benchmark", *words, "--no-steps", "--out", str(tmp_path)])
    with pytest.raises(Exception) as error:
        main()
    assert one_line(error)
    assert [*tmp_path.iterdir()] == []


# --- its parts ---


@pytest.mark.parametrize("name", WAYS)
def test_each_loader_gives_the_tokens_and_those_that_follow(bins, name):
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loader = LOADERS[name](Task(bins, 5, 32, "random", 1, device))
    seen = open_bins(bins).ids("train").astype(np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(seen, 33)
    known = {row.tobytes() for row in windows}
    for call in (loader.call, loader.one or loader.call):
        x, y = call()
        assert (x.shape, x.dtype, y.shape, y.dtype) == ((5, 32), torch.int64) * 2
        rows = torch.cat([x, y[:, -1:]], 1).cpu().numpy()
        assert torch.equal(x[:, 1:], y[:, :-1])
        assert all(row.tobytes() in known for row in rows)
    loader.close()


@pytest.mark.parametrize("name", ["host", "device"])
def test_the_end_of_the_data_does_not_end_the_run(bins, name):
    loader = LOADERS[name](Task(bins, 64, 1024, "sequential", 1, CPU))
    first, *others = [loader.call()[0][0] for _ in range(12)]  # of 5 batches
    assert [i for i, other in enumerate(others, 1) if torch.equal(first, other)] == [5, 10]


@pytest.mark.parametrize(("error", "says"), [
    (RuntimeError("no room\nat all"), "no room"), (MemoryError(), "MemoryError"),
])  # fmt: skip
def test_a_loader_that_fails_does_not_end_the_run(bins, monkeypatch, error, says):
    def full(_: Task):
        raise error

    monkeypatch.setitem(loaders.LOADERS, "dataloader", full)
    settings = {**read_settings(ROOT / "params.yaml"), "benchmark": {"shapes": [[4, 8]]}}
    found, missing = measure_batches(bins, settings, CPU, 10.0, timing.QUICK, lambda _: None)
    assert found["4x8"]["dataloader"] is None
    assert found["4x8"]["host"]["us"] > 0
    assert missing == [f"4x8, dataloader: failed, {says}"]


def test_a_failed_loader_stands_in_the_table(ran):
    result = json.loads(json.dumps(ran[0]))
    result["batches"] = {"12x1024": {**result["batches"]["12x1024"], "dataloader": None}}
    lines = batches_table(result, ["12x1024, dataloader: failed, no room"])
    assert [line.split()[:2] for line in lines if line.startswith("dataloader ")] == [
        ["dataloader", "failed"]
    ]
    assert lines[-1] == "12x1024, dataloader: failed, no room"


@pytest.mark.parametrize("tokens", [1, 221, 222, 223, 4 * 2**20 + 5])
def test_synthetic_bins_are_whole_and_say_what_they_are(tokens):
    with synthetic(tokens) as folder:
        assert list(damage(folder)) == []
        opened = open_bins(folder)
        ids, docs = opened.ids("train"), opened.docs("train")
        assert opened.manifest["dataset"]["name"] == "synthetic"
        assert len(ids) == tokens == opened.manifest["splits"]["train"]["tokens"]
        assert len(docs) == opened.manifest["splits"]["train"]["documents"] + 1
        assert docs[0].tolist() == [0, 0] and docs[-1].tolist() == [tokens, 4 * tokens]
        assert ids.max() < 50_257
    assert not folder.exists()


def test_synthetic_ids_are_all_of_the_vocabulary_and_the_same_everywhere(bins):
    ids = open_bins(bins).ids("train")
    assert len(np.unique(ids)) > 49_000
    assert open_bins(bins).manifest["sha256"] == SYNTHETIC


@pytest.mark.skipif(not (PROC / "self/smaps_rollup").exists(), reason="the system does not tell")
def test_memory_counts_what_is_touched():
    before = private_bytes()
    held = np.ones(2**24)  # 128 MiB, far more than what else comes and goes
    assert 2**26 <= private_bytes() - before <= 2**28
    del held


def test_names_of_devices_are_kebab():
    assert kebab("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3"
    assert kebab("Intel(R) Xeon(R)") == "intel-r-xeon-r"


# --- settings ---


def test_settings_are_what_yaml_reads():
    wanted = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert read_settings(ROOT / "params.yaml") == {
        key: wanted[key] for key in ("dataset", *SECTIONS)
    }


@pytest.mark.parametrize(("old", "new", "says"), [
    ("  batch_size: 64 ", "  batch_size: -64 ", "batching.batch_size is -64"),
    ("  batch_size: 64 ", "  batch_size: 6.4 ", "batching.batch_size is 6.4"),
    ("  block_size: 256 ", "  block_size: true ", "batching.block_size is True"),
    ("  block_size: 256 ", "  # block_size: 256", "batching.block_size is None"),
    ("order: shuffled", "order: [1]", "batching.order is [1]"),
    ("order: shuffled", "order: sorted", "batching.order is 'sorted'"),
    ("  seed: 1337\nbenchmark:", "  seed: -1\nbenchmark:", "batching.seed is -1"),
    ("  seed: 1337\nbenchmark:", "benchmark:", "batching.seed is None"),
    ("[12, 1024]", "[12, 1024, 1]", "benchmark.shapes is [[12, 1024, 1]"),
    ("[12, 1024]", "[0, 1024]", "benchmark.shapes is [[0, 1024]"),
    ("[12, 1024]", "[12, x]", "benchmark.shapes is '[[12, x]"),
    ("batching:\n", "batches:\n", "batching.batch_size is None"),
    ("benchmark:\n", "bench:\n", "benchmark.shapes is None"),
    ("dataset: sample ", "dataset: 7 ", "dataset is 7"),
])  # fmt: skip
def test_a_wrong_setting_is_one_line(tmp_path, old, new, says):
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    edit(path, old, new)
    with pytest.raises(Exception) as error:
        read_settings(path)
    assert says in one_line(error)


def test_settings_that_are_no_text_are_one_line(tmp_path):
    (tmp_path / "params.yaml").write_bytes(b"\xff")
    with pytest.raises(Exception) as error:
        read_settings(tmp_path / "params.yaml")
    assert "not UTF-8" in one_line(error)


def test_a_missing_file_says_where_to_stand(tmp_path):
    with pytest.raises(Exception) as error:
        read_settings(tmp_path / "params.yaml")
    assert "root of the repository" in one_line(error)
