"""The whole of `make data` at full size: a stand-in hub, its real client, every stage, DVC.

In: Parquet shards on disk. They are published on 127.0.0.1 (see benchmark.data.stand_in_hub), and
`make data` builds them in a copy of this repository: once with nothing in the hub's cache, once
with the files there and nothing else, once with nothing to do. Out: seconds, peak memory and disk
of each stage, with DVC's own share apart: what `make data` took beyond its stages.
"""

import json
import os
import shutil
from pathlib import Path

from benchmark.data.measure import Measured, measure
from benchmark.data.stand_in_hub import COMMIT, REPOSITORY, serving
from slm.core.git import git

STAGES = {
    "download": "data/bench/raw",
    "audit": "data/bench/facts",
    "select_documents": "data/bench/selection",
    "make_vocabulary": "data/bench/vocabulary",
    "tokenize_text": "data/bench/tokens",
    "write_bins": "data/bench/bins",
    "describe": "metrics/bench",
}
ROOT = Path(__file__).parents[2]
ENTRY = f"""datasets:
  bench: {{kind: hub, path: {REPOSITORY}, revision: "{COMMIT}", column: text, \
splits: [train, validation]}}"""


def rehearse(folder: Path, shards: Path, command: list[str]) -> dict:
    """Run `command` (that of `make data`) cold, warm and with nothing to do; what each took."""
    repository = _copy(folder / "repository")
    files = [p for p in shards.iterdir() if p.name.startswith(("train-", "validation-"))]
    figures = {}
    with serving(files, folder / "hub") as hub:
        for name in ("cold", "warm", "nothing"):
            if name != "nothing":
                for made in (".dvc/cache", *STAGES.values()):  # everything but the hub's cache
                    shutil.rmtree(repository / made, ignore_errors=True)
            figures[name] = _run(repository, folder, name, command, hub)
    figures["disk"] = {stage: _disk(repository / out) for stage, out in STAGES.items()}
    figures["disk"]["cache"] = _disk(repository / ".dvc" / "cache")
    figures["disk"]["hub"] = _disk(folder / "hub")
    shutil.rmtree(folder / "hub")
    return figures


def _copy(folder: Path) -> Path:
    """The files that git knows or would add, committed, with a dataset and with timed stages."""
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / "data" / "bench" / "source").mkdir(parents=True)
    _replace(folder / "params.yaml", "datasets:", ENTRY)
    _replace(folder / "dvc.yaml", "python -m ", "python -m benchmark.data.timed ")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "-qm", "-")
    return folder


def _replace(file: Path, old: str, new: str) -> None:
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def _run(repository: Path, folder: Path, name: str, command: list[str], hub: dict) -> dict:
    times = folder / f"{name}.times"
    fresh = {"SLM_TIMES": str(times), "DVC_SITE_CACHE_DIR": str(folder / f"{name}.dvc")}
    if name == "nothing":  # DVC remembers what it has hashed, as it does for a user
        fresh["DVC_SITE_CACHE_DIR"] = str(folder / "warm.dvc")
    whole: Measured = measure(
        command, repository, {**os.environ, "PYTHONPATH": str(repository), **hub, **fresh}
    )
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
