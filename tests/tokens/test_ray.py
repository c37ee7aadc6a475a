"""Facts about units that a Ray cluster makes. It runs in a network that has loopback alone."""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.tokens.test_units import CUT, finished, ground, place, said, tokens_once
from tests.workspace import ROOT, hashes

__all__ = ("ground", "place")  # fixtures of units, which the tests here use

INSTALLED = importlib.util.find_spec("ray") is not None
ADDRESS = "127.0.0.1:6399"
RAYS_OWN = re.compile(r"\[\d{4}-\d\d-\d\d .*network_util")  # it looks for a network
# A cluster of $2 CPUs, and then what $1 says. All processes end with the first one.
INSIDE = f"""
ip link set lo up
python() {{ "$PYTHON" "$@"; }}
python -m ray.scripts.scripts start --head --node-ip-address=127.0.0.1 --port=6399 \\
  --num-cpus="$2" --include-dashboard=false --disable-usage-stats --temp-dir="$3" >/dev/null 2>&1
export EXECUTOR=ray RAY_ADDRESS={ADDRESS}
tokenize() {{ python -m scripts.tokenize_text mine; }}
eval "$1"
"""


def inside(place: Path, what: str, cpus: int = 2) -> subprocess.CompletedProcess:
    """Runs a line of shell in `place`, beside a cluster."""
    if not INSTALLED:
        pytest.skip("Ray is not installed")
    folder = tempfile.mkdtemp(prefix="ray")  # a short path: it has sockets
    words = ["unshare", "-n", "-p", "-f", "--kill-child", "--mount-proc", "bash", "-c", INSIDE]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": path}
    try:
        run = subprocess.run(
            [*words, "bash", what, str(cpus), folder], cwd=place, env=env,
            capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        said = [line for line in run.stderr.splitlines(True) if not RAYS_OWN.match(line)]
        run.stderr = "".join(said)
        return run
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_any_number_of_tasks_gives_the_same_tokens(ground, place, cpus):
    run = inside(place, "tokenize", cpus)
    assert (run.returncode, run.stderr) == (0, ""), run
    assert run.stdout.endswith(f"tokens on {ADDRESS}\n")
    assert hashes(place / "data/mine/tokens") == hashes(tokens_once(ground, CUT))


@pytest.mark.slow
def test_workers_and_drivers_that_are_killed_change_no_byte(ground, place):
    kills = "for i in 1 2 3 4 5 6; do sleep 0.3; pkill -9 '^ray::(IDLE|carry)'; done"
    driver = '"$PYTHON" -m scripts.tokenize_text mine & driver=$!; sleep 2.5; kill -9 $driver'
    run = inside(place, f"({kills}) & {driver}; {driver}; wait; rm -rf data/mine/tokens; tokenize")
    assert run.returncode == 0 and "Traceback" not in run.stderr, run
    assert hashes(place / "data/mine/tokens") == hashes(tokens_once(ground, CUT))
    assert not finished(place / "data/mine")


@pytest.mark.slow
def test_an_error_of_a_task_is_the_line_that_it_would_be_here(place):
    raw = place / "data/mine/raw"
    for path in raw.iterdir():
        path.unlink() if path.suffix != ".json" else None
    run = inside(place, "tokenize")
    assert run.returncode == 1 and run.stderr.count("\n") == 1, run
    assert run.stderr.startswith("error: ") and "Traceback" not in run.stderr


@pytest.mark.parametrize("address", ["127.0.0.1:1", "tcp://127.0.0.1:1", "x", "127.0.0.1:99999"])
def test_where_no_cluster_answers_one_line_says_so(place, monkeypatch, address):
    monkeypatch.setenv("EXECUTOR", "ray")
    monkeypatch.setenv("RAY_ADDRESS", address)
    error = said(place, fails=True)
    assert f"no Ray cluster answers at {address} (" in error and "`ray start --head`" in error


def test_without_an_address_nothing_is_started(place, monkeypatch):
    monkeypatch.setenv("EXECUTOR", "ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert "EXECUTOR=ray needs RAY_ADDRESS=host:port" in said(place, fails=True)


@pytest.mark.skipif(INSTALLED, reason="Ray is installed")
def test_without_ray_one_line_says_how_to_install_it(place, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("EXECUTOR", "ray")
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        error = said(place, fails=True)
    assert "EXECUTOR=ray needs Ray, which is not installed" in error
    (pin,) = re.findall(r"pip install (ray==[\d.]+)", error)
    assert f'ray = ["{pin}"]' in (ROOT / "pyproject.toml").read_text()
