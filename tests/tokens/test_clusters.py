"""Facts about units that a cluster makes: the same bytes, whoever dies, and one line if it fails.

Scheduler and workers are Dask's own programs on 127.0.0.1.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from slm.core.errors import UserError
from slm.text.corpus import make_raw
from slm.text.raw import read_source
from slm.text.units import Unit
from slm.tokens.units import cluster
from slm.tokens.units.identity import CODE
from slm.tokens.units.orders import Order
from tests.helpers import json_lines
from tests.s3_server import S3Server
from tests.tokens.test_units import CUT, command, finished, ground, place, tokens_once
from tests.workspace import ROOT, hashes

__all__ = ("ground", "place")  # fixtures of units, which the tests here use

pytestmark = pytest.mark.slow


def started(*words: str, path: Path = ROOT) -> subprocess.Popen:
    """One of Dask's programs, which imports slm from `path`."""
    line, log = [sys.executable, "-m", *words], subprocess.DEVNULL
    environment = os.environ | {"PYTHONPATH": str(path)}
    return subprocess.Popen(line, env=environment, cwd=path, stdout=log, stderr=log)


class Dask:
    """A scheduler, and workers that come and go."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address, self._folder = f"tcp://127.0.0.1:{port}", folder
        words = ("--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        self.scheduler = started("distributed.cli.dask_scheduler", *words)
        self.workers: list[subprocess.Popen] = []

    def add(self, many: int, path: Path = ROOT) -> None:
        """Starts workers, and waits until the scheduler knows them."""
        words = (self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host")
        words += ("127.0.0.1", "--local-directory", str(self._folder))
        for _ in range(many):
            self.workers.append(started("distributed.cli.dask_worker", *words, path=path))
        self.wait_for(len(self.workers))

    def wait_for(self, many: int) -> None:
        from distributed import Client

        with Client(self.address, timeout=30, set_as_default=False) as client:
            until = time.monotonic() + 60
            while (found := len(client.scheduler_info()["workers"])) != many:
                assert time.monotonic() < until, f"{found} workers, not {many}"
                time.sleep(0.05)

    def kill(self, number: int) -> None:
        worker = self.workers.pop(number)
        worker.kill()
        worker.wait()

    def end(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@contextmanager
def dask(folder: Path, workers: int = 0) -> Iterator[Dask]:
    made = Dask(folder)
    try:
        made.add(workers) if workers else None
        yield made
    finally:
        made.end()


def run(place: Path, monkeypatch, address: str) -> subprocess.Popen:
    monkeypatch.setenv("EXECUTOR", "dask")
    monkeypatch.setenv("SCHEDULER", address)
    return command(place)


def ended(process: subprocess.Popen, fails: bool = False) -> str:
    out, error = process.communicate(timeout=120)
    assert process.returncode == int(fails), (out, error)
    assert not fails or error.count("\n") == 1, error
    return error if fails else out


def test_any_number_of_workers_gives_the_same_tokens(ground, place, monkeypatch, tmp_path):
    data = place / "data/mine"
    with dask(tmp_path) as of:
        for more in (1, 1, 2):  # 1, 2 and 4
            of.add(more)
            assert f"tokens on {of.address}" in ended(run(place, monkeypatch, of.address))
            assert hashes(data / "tokens") == hashes(tokens_once(ground, CUT))
            assert {path.name for path in data.iterdir()} == {"raw", "vocabulary", "tokens"}
            shutil.rmtree(data / "tokens")


def test_workers_and_drivers_that_are_killed_change_no_byte(ground, place, monkeypatch, tmp_path):
    data, rng = place / "data/mine", random.Random(4)
    with dask(tmp_path, 3) as of:
        for _ in range(3):
            driver, seen = run(place, monkeypatch, of.address), len(finished(data))
            while len(finished(data)) <= seen and driver.poll() is None:
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.01))
            of.kill(rng.randrange(len(of.workers)))
            driver.kill()
            driver.communicate()
            of.add(1)
            if (data / "tokens").exists():  # it was done before
                shutil.rmtree(data / "tokens")
        driver = run(place, monkeypatch, of.address)
        for _ in range(2):
            time.sleep(0.2)
            of.kill(0)
        ended(driver)
    assert hashes(data / "tokens") == hashes(tokens_once(ground, CUT))
    assert {path.name for path in data.iterdir()} == {"raw", "vocabulary", "tokens"}


def test_a_scheduler_that_dies_is_one_line_and_what_is_finished_is_kept(
    ground, place, monkeypatch, tmp_path
):
    data = place / "data/mine"
    with dask(tmp_path, 1) as of:
        of.workers[0].send_signal(signal.SIGSTOP)  # so that it cannot be done
        driver = run(place, monkeypatch, of.address)
        time.sleep(4)
        of.scheduler.kill()
        said = ended(driver, fails=True)
        gone = "the scheduler is gone" in said and "run the same command" in said
        assert gone or "no Dask scheduler answers" in said  # a slow driver found none
        of.workers[0].send_signal(signal.SIGCONT)
    monkeypatch.delenv("EXECUTOR")
    monkeypatch.delenv("SCHEDULER")
    assert "tokens by" in ended(command(place))
    assert hashes(data / "tokens") == hashes(tokens_once(ground, CUT))


def test_a_worker_of_another_version_is_refused_by_name(place, monkeypatch, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(ROOT / "slm", other / "slm", ignore=shutil.ignore_patterns("__pycache__"))
    with (other / "slm/tokens/fast.py").open("a") as file:
        file.write("# another\n")
    with dask(tmp_path) as of:
        of.add(1, other)
        said = ended(run(place, monkeypatch, of.address), fails=True)
    assert "has other modules of slm than the driver; check out the same commit there" in said


def test_what_is_wrong_with_a_text_is_said_as_without_a_cluster(place, monkeypatch, tmp_path):
    raw = place / "data/mine/raw"
    (path,) = raw.glob("validation*.jsonl")
    path.write_bytes(json_lines(["a", "b"]) + b'{"text": 5}\n')
    here = ended(command(place), fails=True)
    with dask(tmp_path, 1) as of:
        assert ended(run(place, monkeypatch, of.address), fails=True) == here
    assert "row 3 of held.jsonl" in here


def test_half_of_a_cluster_and_one_that_does_not_answer_are_refused(monkeypatch, tmp_path):
    for environment, why in {
        "EXECUTOR=dask": "EXECUTOR=dask needs SCHEDULER=tcp://host:port",
        "EXECUTOR=spark SCHEDULER=x": "EXECUTOR is 'spark', expected one of dask",
        "SCHEDULER=tcp://a:1": "SCHEDULER is tcp://a:1, and no EXECUTOR is named",
    }.items():
        with pytest.raises(UserError, match=why):
            cluster.wanted(dict(pair.split("=", 1) for pair in environment.split()))
    assert (
        cluster.wanted({}) is None
        and cluster.wanted({"EXECUTOR": "", "SCHEDULER": "slurm"}) is None
    )
    monkeypatch.setattr(cluster, "SECONDS", 1)
    with (
        pytest.raises(UserError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1 "),
        cluster.on_dask("tcp://127.0.0.1:1"),
    ):
        raise AssertionError("it answered")
    with (
        dask(tmp_path) as of,
        pytest.raises(UserError, match=f"{of.address} has no workers; `dask worker {of.address}`"),
    ):
        of.wait_for(0)
        with cluster.on_dask(of.address):
            raise AssertionError("it has workers")


# ---- the driver, over any executor of the standard library's kind ----


def orders(many: int) -> list[Order]:
    nothing = Order(Unit("train", 0, many, 0, 3, ()), "", "", "", "", "", 1, {}, CODE, {})
    return [nothing._replace(unit=nothing.unit._replace(number=i)) for i in range(many)]


def test_few_units_wait_at_a_time(monkeypatch):
    monkeypatch.setattr(cluster, "WAITING", 7)
    lock, waiting, most, told = threading.Lock(), [0], [0], list[int]()

    class Counting(ThreadPoolExecutor):
        def submit(self, work, /, *words):
            with lock:
                waiting[0] += 1
                most[0] = max(most[0], waiting[0])
            return super().submit(work, *words)

    def work(_order: Order) -> None:
        with lock:
            waiting[0] -= 1

    with Counting(3) as pool:
        cluster.spread(pool, work, orders(500), told.append)
    assert told == [3] * 500 and 1 < most[0] <= 7


class Failing(Executor):
    """An executor whose every future ends in an error."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def submit(self, _work, /, *_words):
        future: Future = Future()
        future.set_exception(self._error)
        return future


def test_an_error_of_the_workers_is_one_line_that_names_the_unit():
    name = "train-00000-of-00002"
    for error, why in (
        (UserError("row 3 is null"), "^row 3 is null$"),
        (MemoryError(), f"^{name} could not be made by the workers .MemoryError: "),
        (RuntimeError("a\nb"), f"^{name} could not be made by the workers .RuntimeError: a.;"),
    ):
        with pytest.raises(UserError, match=why) as found:
            cluster.spread(Failing(error), print, orders(2), lambda _many: None)
        assert len(str(found.value).splitlines()) == 1
    with suppress(UserError):
        cluster.spread(Failing(KeyError("x")), print, orders(1), lambda _many: None)


def test_text_at_urls_is_read_by_the_workers(ground, place, monkeypatch, tmp_path):
    """Of a worker that dies, and a connection that is cut, nothing is lost."""
    data = place / "data/mine"
    with S3Server() as s3, dask_with(monkeypatch, s3, tmp_path) as of:
        source = ground / "source"
        for path in source.iterdir():
            s3.put(f"text/{path.name}", path.read_bytes())
        shutil.rmtree(data / "raw")
        (data / "raw").mkdir()
        splits = read_source(ground / "raw")["splits"].items()
        files = {
            split: [f"s3://text/{file['name']}" for file in entry["files"]]
            for split, entry in splits
        }
        make_raw("mine", {"kind": "files", "files": files}, source, data / "raw")
        s3.fault("cut", "GET .*parquet", times=2)
        driver = run(place, monkeypatch, of.address)
        while not finished(data) and driver.poll() is None:
            time.sleep(0.001)
        of.kill(0)
        ended(driver)
        s3.fault("slow_down", "GET ")
    made, expected = hashes(data / "tokens"), hashes(tokens_once(ground, CUT))
    for of_one in (made, expected):
        del of_one["tokens.json"]  # which names the source
    assert made == expected


@contextmanager
def dask_with(monkeypatch, s3: S3Server, folder: Path) -> Iterator[Dask]:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    with dask(folder, 2) as of:
        yield of


def test_two_drivers_at_once_end_in_the_same_tokens_or_one_line(
    ground, place, monkeypatch, tmp_path
):
    data = place / "data/mine"
    with dask(tmp_path, 2) as of:
        both = [run(place, monkeypatch, of.address) for _ in range(2)]
        said = [driver.communicate(timeout=120) for driver in both]
        failed = [error for driver, (_, error) in zip(both, said, strict=True) if driver.returncode]
        assert len(failed) < 2
        for error in failed:  # the first one that ends takes units/ away
            assert error.count("\n") == 1, error
            assert "run the same command again" in error or "make data" in error
        assert hashes(data / "tokens") == hashes(tokens_once(ground, CUT))
        shutil.rmtree(data / "tokens")
        ended(run(place, monkeypatch, of.address))
    assert hashes(data / "tokens") == hashes(tokens_once(ground, CUT))
    assert {path.name for path in data.iterdir()} == {"raw", "vocabulary", "tokens"}


def test_a_full_disk_of_the_workers_is_one_line_and_the_next_run_goes_on(
    ground, place, monkeypatch, tmp_path
):
    data = place / "data/mine"
    (data / "units").mkdir()
    small = ("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(data / "units"))
    if subprocess.run(small, capture_output=True).returncode:
        pytest.skip("a full disk needs leave to mount a tmpfs (root)")
    try:
        with dask(tmp_path, 2) as of:
            said = ended(run(place, monkeypatch, of.address), fails=True)
            assert "No space left on device" in said
            assert "what is finished is kept" in said
    finally:
        subprocess.run(["umount", str(data / "units")], check=True)
    ended(command_alone(place, monkeypatch))
    assert hashes(data / "tokens") == hashes(tokens_once(ground, CUT))
    assert not (data / "units").exists()


def command_alone(place: Path, monkeypatch) -> subprocess.Popen:
    for name in ("EXECUTOR", "SCHEDULER"):
        monkeypatch.delenv(name)
    return command(place)
