"""How fast is an export, how much room does it take? `python -m benchmark.exports FOLDER`.

In: a folder of bins. Out: for each format that takes them the median seconds of three runs, MB of
ids a second, as a part of what a copy of the ids takes in the same run (which ends on the disk, as
an export does), what the disk has more, and the peak memory of the process.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmark.data.measure import Measured, measure
from benchmark.data.runs import ROOT
from slm.bins.manifest import read_manifest
from slm.core.errors import UserError, check, run_main
from slm.export.exporting import FORMATS

REPEATS = 3
ONE = (
    "import sys, time; from pathlib import Path; from slm.export.exporting import export; "
    "from slm.export.parts import Options; from slm.bins.opening import open_bins; "
    "bins = open_bins(sys.argv[1]); start = time.perf_counter(); "
    "export(bins, sys.argv[2], Path(sys.argv[3]), Options()); print(time.perf_counter() - start)"
)


def main() -> None:
    """Measure and print."""
    check(len(sys.argv) == 2, "which bins? `python -m benchmark.exports data/sample/bins`")
    bins = Path(sys.argv[1]).resolve()
    splits = read_manifest(bins)["splits"]
    size = sum(path.stat().st_size for split in splits for path in bins.glob(f"{split}*.bin"))
    print(
        f"{size / 1e6:,.0f} MB of ids, {sum(s['documents'] for s in splits.values()):,} documents"
    )
    with tempfile.TemporaryDirectory(dir=bins.parent) as name:
        runs = _runs(bins, Path(name))
    copy = median(runs.pop("cp"))
    print(f"cp: {copy:.2f} s, {size / copy / 1e6:,.0f} MB/s")
    for to, seconds in runs.items():
        rate = size / median(seconds) / 1e6
        print(
            f"{to}: {median(seconds):.2f} s, {rate:,.0f} MB/s, {copy / median(seconds):.2f} of cp"
        )


def _runs(bins: Path, folder: Path) -> dict[str, list[float]]:
    """The seconds of each way, in turn."""
    runs: dict[str, list[float]] = {"cp": []}
    for number in range(REPEATS):
        runs["cp"].append(_copied(bins, folder / "copy"))
        for to in FORMATS:
            try:
                run, more = _exported(bins, to, folder / "out")
            except UserError as error:
                if not number:
                    print(f"{to}: {str(error).rpartition('UserError: ')[2]}", file=sys.stderr)
                continue
            if not number:
                print(f"{to}: {more / 1e6:,.1f} MB more, {run.peak_bytes / 1e6:,.0f} MB of memory")
            runs.setdefault(to, []).append(float(run.output))
    return runs


def _copied(bins: Path, folder: Path) -> float:
    start = time.perf_counter()
    folder.mkdir()
    for path in bins.glob("*.bin"):
        shutil.copyfile(path, folder / path.name)
        with (folder / path.name).open("rb") as file:
            os.fsync(file.fileno())
    seconds = time.perf_counter() - start
    shutil.rmtree(folder)
    return seconds


def _exported(bins: Path, to: str, out: Path) -> tuple[Measured, int]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = measure([sys.executable, "-c", ONE, str(bins), to, str(out)], ROOT, env)
    more = _used(bins, out) - _used(bins)
    shutil.rmtree(out)
    return run, more


def _used(*folders: Path) -> int:
    """The bytes on the disk; a file of several names counts once."""
    done = subprocess.run(["du", "-sk", "-c", *map(str, folders)], capture_output=True, text=True)
    return int(done.stdout.splitlines()[-1].split()[0]) * 1024


if __name__ == "__main__":
    run_main(main)
