"""What do units and engines cost? The stage `tokenize` as a whole process, four ways in turn.

In: a folder as the scripts expect it, with raw/ and vocabulary/. Out: the runs of each way, with
clusters started and stopped in them; a UserError where two wrote other ids. Ray is timed where it
is installed, in a network of its own that has loopback alone.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmark.data.measure import Measured, measure
from benchmark.data.runs import ROOT, python
from slm.core.errors import check
from slm.core.tables import say

WORKERS = 2
UNITS = 6  # about so many of train
ALONE = ("unshare", "-n", "-p", "-f", "--kill-child", "--mount-proc")
INSIDE = f"""
ip link set lo up
export EXECUTOR=ray RAY_ADDRESS=127.0.0.1:6399
"$PYTHON" -m ray.scripts.scripts start --head --node-ip-address=127.0.0.1 --port=6399 \\
  --num-cpus={WORKERS} --include-dashboard=false --disable-usage-stats --temp-dir="$1" \\
  >/dev/null 2>&1
"$PYTHON" -m scripts.tokenize_text bench
"""


def engines(folder: Path, repeats: int) -> dict[str, list[Measured]]:
    """The runs of each way, by its name; params.yaml stays as it was."""
    params, data = folder / "params.yaml", folder / "data/bench"
    before = params.read_text()
    size = sum(path.stat().st_size for path in (data / "tokens").glob("*.ids")) * 2
    params.write_text(re.sub(r"unit_bytes: \d+", f"unit_bytes: {max(1, size // UNITS)}", before))
    units = params.read_text()
    ways: dict[str, tuple[str, Callable[[Path], Measured]]] = {
        "in one piece": (before, _here),
        "in units, by threads": (units, _here),
        f"in units, Dask, {WORKERS} workers": (units, _on_dask),
    }
    if importlib.util.find_spec("ray") and _may_be_alone():
        ways[f"in units, Ray, {WORKERS} CPUs"] = (units, _on_ray)
    runs: dict[str, list[Measured]] = {name: [] for name in ways}
    hashes = set()
    for number in range(repeats):
        for name, (content, run) in ways.items():
            say(f"tokenize {name} ({number + 1} of {repeats})")
            for made in ("tokens", "units"):
                shutil.rmtree(data / made, ignore_errors=True)
            params.write_text(content)
            runs[name].append(run(folder))
            hashes.add(_ids_of(data / "tokens"))
    check(len(hashes) == 1, "ways to tokenize the same text wrote other ids")
    params.write_text(before)
    return runs


def _ids_of(tokens: Path) -> str:
    digest = hashlib.sha256()
    for split in ("train", "validation"):
        for path in sorted(tokens.glob(f"{split}*.ids")):
            with path.open("rb") as file:  # a part at a time: see benchmark.data.measure
                while part := file.read(2**20):
                    digest.update(part)
    return digest.hexdigest()


def _here(folder: Path, **more: str) -> Measured:
    env = {**os.environ, "PYTHONPATH": python_path(), **more}
    return measure(python("scripts.tokenize_text", "bench"), folder, env)


def _on_dask(folder: Path) -> Measured:
    """A scheduler and workers on 127.0.0.1, started and stopped in the time that counts."""
    start, port = time.perf_counter(), _free_port()
    address = f"tcp://127.0.0.1:{port}"
    here = ("--host", "127.0.0.1", "--no-dashboard")
    programs = [_started("distributed.cli.dask_scheduler", *here, "--port", str(port))]
    worker = ("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", *here)
    programs += [_started(*worker, "--local-directory", str(folder)) for _ in range(WORKERS)]
    try:
        _wait_for_workers(address)
        run = _here(folder, EXECUTOR="dask", SCHEDULER=address)
    finally:
        for program in programs:
            program.kill()
            program.wait()
    return run._replace(seconds=time.perf_counter() - start)


def _started(*words: str) -> subprocess.Popen:
    env = {**os.environ, "PYTHONPATH": python_path()}
    log = subprocess.DEVNULL
    return subprocess.Popen([sys.executable, "-m", *words], env=env, stdout=log, stderr=log)


def _wait_for_workers(address: str) -> None:
    from distributed import Client

    with Client(address, timeout=30, set_as_default=False) as client:
        client.wait_for_workers(WORKERS, timeout=60)


def _on_ray(folder: Path) -> Measured:
    """A cluster of one machine, in a network and among processes of its own, which end with it."""
    env = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": python_path()}
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as sockets:
        return measure([*ALONE, "sh", "-c", INSIDE, "sh", sockets], folder, env)


def _may_be_alone() -> bool:
    return subprocess.run([*ALONE, "true"], capture_output=True).returncode == 0


def python_path() -> str:
    """Ours first, then what was asked for, where Ray may be."""
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
