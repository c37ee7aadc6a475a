"""`make bench-data [DOCUMENTS=n]`: how fast does text become bins, beside the notebook's recipe?

In: a number of generated train stories (100,000 where none is given). Runs our four stages, and
on the first 100,000 rows the recipe and a process pool over tiktoken, each as a whole process,
and refuses to report unless all wrote the same bytes; then the whole of `make data` through a
stand-in hub and DVC. Before that the stage tokenize in one piece, in units, and in units on a Dask
and a Ray cluster. Out: three tables, what they were measured on, and as the last line one line
of JSON. Leaves nothing behind but the stories, in benchmark/stories.
"""

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path

from benchmark.data.engines import engines
from benchmark.data.figures import figures, of_engines
from benchmark.data.measure import Measured, measure
from benchmark.data.rehearsal import rehearse
from benchmark.data.runs import ROOT, TOKENIZER, WORK, python, stage, stories
from benchmark.data.shards import FIRST_ROWS
from benchmark.data.table import report
from slm.core.errors import UserError, run_main
from slm.core.tables import say

DOCUMENTS = 100_000
REPEATS, REPEATED = 3, 3_000_000  # runs of the two stages that count, up to so many documents
STAGES = {
    "download": "download",
    "audit": "audit",
    "select": "select_documents",
    "vocabulary": "make_vocabulary",
}
COUNTED = {"tokenize": "tokenize_text", "bins": "write_bins"}
MADE = ("tokens", "bins")  # what those two leave in data/bench
THEIRS = {"recipe": (), "pool": ("--pool",)}  # and the flags of benchmark.data.notebook_recipe
PARAMS = """
dataset: bench
datasets:
  bench: {kind: files, column: text, files: {train: train-*.parquet, validation: val*.parquet}}
select: {}
bins: {end_of_text: none}
"""


def main() -> None:
    """Measure, check, and print."""
    documents, work, repeats = _arguments()
    work.mkdir(parents=True, exist_ok=True)
    source = stories(work, documents)
    with tempfile.TemporaryDirectory(prefix="run-", dir=work) as name:
        folder = Path(name)
        runs = _run_ours(folder, source, repeats)
        ways = engines(folder, repeats)
        first = _run_theirs(folder, source / "first.parquet", "first")
        # More than they ran on is told from two points, so that their start-up counts once.
        start = (
            _run_theirs(folder, source / "start.parquet", "start") if documents > FIRST_ROWS else {}
        )
        measured = figures(documents, folder, runs, first, start)
        measured["engines"] = of_engines(ways)
        say("the whole `make data` through a stand-in hub: cold, warm, nothing to do")
        measured["make_data"] = rehearse(folder, source, python("scripts.make_data", "bench"))
    print(report(measured))
    print(json.dumps(measured))


def _arguments() -> tuple[int, Path, int]:
    parser = argparse.ArgumentParser(prog="make bench-data", description=__doc__)
    parser.add_argument("documents", nargs="?", default=str(DOCUMENTS), metavar="DOCUMENTS")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--repeats", type=int, help=f"runs of what counts ({REPEATS} or, large, 1)")
    args = parser.parse_args()
    if not (args.documents.isdecimal() and int(args.documents) > 0):
        raise UserError(
            f"DOCUMENTS is {args.documents!r}, expected a positive whole number: "
            "`make bench-data DOCUMENTS=1000000`"
        )
    documents = int(args.documents)
    repeats = args.repeats or (REPEATS if documents <= REPEATED else 1)
    return documents, args.work.resolve(), repeats


def _run_ours(folder: Path, source: Path, repeats: int) -> dict[str, list[Measured]]:
    """Our stages, put into `folder` as the scripts expect it; the runs of each."""
    (folder / "params.yaml").write_text(PARAMS + TOKENIZER)
    (folder / "data" / "bench").mkdir(parents=True)
    (folder / "data" / "bench" / "source").symlink_to(source)
    runs = {name: [stage(folder, name, script)] for name, script in STAGES.items()}
    runs |= {name: [] for name in COUNTED}
    for number in range(repeats):
        for made in MADE:  # DVC, too, removes what a stage made before it runs it again
            shutil.rmtree(folder / "data" / "bench" / made, ignore_errors=True)
        for name, script in COUNTED.items():
            runs[name].append(stage(folder, name, script, f" ({number + 1} of {repeats})"))
    return runs


def _run_theirs(folder: Path, rows: Path, made: str) -> dict[str, Measured]:
    """The notebook's recipe and the process pool, which write `<made>-<name>.bin`."""
    fresh = folder / f"{made}-hf"  # an empty cache, so that nothing is taken from an earlier run
    env = {
        **os.environ,
        "HF_HOME": str(fresh),
        "HF_DATASETS_CACHE": str(fresh / "datasets"),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "PYTHONPATH": str(ROOT),
    }
    runs = {}
    for name, flags in THEIRS.items():
        say(f"{name}, on the {made} rows (100,000 take the recipe 20 to 40 s, the pool 4 to 9)")
        command = python("benchmark.data.notebook_recipe", rows, f"{made}-{name}.bin", *flags)
        runs[name] = measure(command, folder, env)
    return runs


if __name__ == "__main__":
    run_main(main)
