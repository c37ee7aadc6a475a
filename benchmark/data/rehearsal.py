"""The whole of `make data` at full size: a stand-in hub, its real client, every stage, DVC.

In: Parquet shards on disk. They are published by a hub on 127.0.0.1 (tests/hub_server.py), and
`make data` builds them in a copy of this repository: once with nothing in the hub's cache, once
with the files there and nothing else, once with nothing to do. Out: seconds, peak memory and disk
of each stage, with DVC's own share apart: what `make data` took beyond its stages.
"""

import json
import os
import shutil
from pathlib import Path

from benchmark.data.hub_server import HubServer
from benchmark.data.measure import Measured, measure
from benchmark.data.workspace import add_entry, commit, edit, environment, workspace

STAGES = {
    "download": "data/bench/raw",
    "make_vocabulary": "data/bench/vocabulary",
    "tokenize_text": "data/bench/tokens",
    "write_bins": "data/bench/bins",
    "audit": "metrics/bench",
    "describe": "metrics/bench",
}
REPOSITORY = "someone/stories"


def rehearse(folder: Path, shards: Path, command: list[str]) -> dict:
    """Run `command` (that of `make data`) cold, warm and with nothing to do; what each took."""
    repository = workspace(folder / "repository")
    with HubServer() as hub:
        revision = hub.publish(REPOSITORY, _published(shards))
        _prepare(repository, revision)
        figures = {}
        for name in ("cold", "warm", "nothing"):
            if name != "nothing":
                _forget(repository)
            figures[name] = _run(repository, folder, name, command, hub.environment(folder / "hub"))
    figures["disk"] = {stage: _disk(repository / out) for stage, out in STAGES.items()}
    figures["disk"]["cache"] = _disk(repository / ".dvc" / "cache")
    figures["disk"]["hub"] = _disk(folder / "hub")
    shutil.rmtree(folder / "hub")
    return figures


def _published(shards: Path) -> dict[str, bytes | Path]:
    files = [p for p in shards.iterdir() if p.name.startswith(("train-", "validation-"))]
    return {f"data/{path.name}": path for path in files} | {"TinyStories-train.txt": b"a decoy"}


def _prepare(repository: Path, revision: str) -> None:
    lines = [f"path: {REPOSITORY}", f"revision: {revision}", "column: text"]
    add_entry(repository, "bench", "hub", [*lines, "splits: [train, validation]"])
    (repository / "data" / "bench" / "source").mkdir(parents=True)
    edit(
        repository / "dvc.yaml",
        "python -m scripts.",
        "python -m benchmark.data.timed scripts.",
        len(STAGES),
    )
    commit(repository)


def _forget(repository: Path) -> None:
    """Everything but the hub's cache."""
    shutil.rmtree(repository / ".dvc" / "cache", ignore_errors=True)
    for out in STAGES.values():
        shutil.rmtree(repository / out, ignore_errors=True)


def _run(repository: Path, folder: Path, name: str, command: list[str], hub: dict) -> dict:
    times = folder / f"{name}.times"
    fresh = {"SLM_TIMES": str(times), "DVC_SITE_CACHE_DIR": str(folder / f"{name}.dvc")}
    if name == "nothing":  # DVC remembers what it has hashed, as it does for a user
        fresh["DVC_SITE_CACHE_DIR"] = str(folder / "warm.dvc")
    whole: Measured = measure(command, repository, {**environment(repository), **hub, **fresh})
    lines = times.read_text().splitlines() if times.exists() else []
    stages = {line["stage"].split(".")[-1]: line for line in map(json.loads, lines)}
    own = whole.seconds - sum(stage["seconds"] for stage in stages.values())
    return {
        "seconds": round(whole.seconds, 2),
        "peak_mb": round(whole.peak_bytes / 1e6),
        "dvc_seconds": round(own, 2),
        "stages": {
            name: {"seconds": round(s["seconds"], 2), "peak_mb": round(s["peak_bytes"] / 1e6)}
            for name, s in stages.items()
        },
    }


def _disk(folder: Path) -> int:
    """Megabytes of the files below a folder; a file that has other names elsewhere counts, too."""
    paths = (Path(where, name) for where, _, names in os.walk(folder) for name in names)
    return round(sum(path.lstat().st_size for path in paths) / 1e6)
