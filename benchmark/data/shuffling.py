"""What does a shuffle add to the stage bins? -m benchmark.data.shuffling

In: a number of documents (TinyStories' 2,119,719 where none is given). Makes synthetic tokens/ of
so many, and of ten times as many: random ids, lengths as of stories. The stage's own function
writes bins from them, in source order and shuffled, as whole processes in turn, both with
end-of-text appended, so that both write every byte; flushing to the disk is part of it. Out: a
table in Markdown: seconds and peaks. Refuses to report unless the shuffled bins have the same
tokens in all. Takes 30 GB of disk, and leaves nothing behind.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmark.data.measure import Measured, machine_line, measure, spread
from benchmark.data.runs import ROOT, WORK, python, size_asked
from slm.core.errors import check, run_main
from slm.core.tables import say
from slm.training.hardware import machine

DOCUMENTS, SEED, MEAN = 2_119_719, 1337, 223
ORDERS, TIMES, REPEATS = ("in source order", "shuffled"), (1, 10), (3, 1)
LIBRARIES = ("numpy", "pyarrow")
HEAD = (
    "| documents | order | seconds, median (lowest–highest) | peak MB |",
    "|---:|---|---:|---:|",
)


def main() -> None:
    """Measure both sizes, and print."""
    if sys.argv[1:2] == ["--one"]:
        TASKS[sys.argv[2]](Path(sys.argv[3]), sys.argv[4])
        return
    documents, rows = size_asked(DOCUMENTS), []
    WORK.mkdir(exist_ok=True)
    for times, repeats in zip(TIMES, REPEATS, strict=True):
        with tempfile.TemporaryDirectory(dir=WORK) as name:
            rows += _rows(Path(name), documents * times, repeats)
    machine_ = machine_line(machine(*LIBRARIES), LIBRARIES)
    print(*HEAD, *rows, "", f"{REPEATS} runs of each, in turn; {machine_}", sep="\n")


def _rows(folder: Path, documents: int, repeats: int) -> list[str]:
    say(f"making tokens of {documents:,} documents")
    # In a process of its own, as this one must stay small: see benchmark.data.measure.
    subprocess.run(_one("make", folder, documents), cwd=ROOT, check=True)
    runs: dict[str, list[Measured]] = {order: [] for order in ORDERS}
    for number in range(repeats):
        for order, of in runs.items():
            say(f"bins {order} ({number + 1} of {repeats})")
            of.append(measure(_one("write", folder, order), ROOT, {}))
            shutil.rmtree(folder / "bins")
    totals = {run.output for of in runs.values() for run in of}
    check(len(totals) == 1, f"the bins differ by more than their order: {totals}")
    return [_row(documents, order, of) for order, of in runs.items()]


def _row(documents: int, order: str, of: list[Measured]) -> str:
    peak = max(run.peak_bytes for run in of) / 1e6
    return f"| {documents:,} | {order} | {spread(of)} | {peak:,.0f} |"


def _one(task: str, folder: Path, what: object) -> list[str]:
    return python("benchmark.data.shuffling", "--one", task, folder, what)


# ---- each in a process of its own ----


def _make(folder: Path, documents: str) -> None:
    """Write tokens/ and selection/."""
    import numpy as np

    from slm.core.files import to_json, write_hashed
    from slm.selection.files import write_selection
    from slm.selection.steps import shuffled

    draw, total = np.random.default_rng(SEED), int(documents)
    lengths = draw.gamma(4, MEAN / 4, total).astype(np.int64) + 1
    totals = np.zeros((total + 1, 2), "<u8")
    totals[1:] = np.cumsum(np.stack([lengths, 4 * lengths], axis=1), axis=0)
    tokens = int(totals[-1, 0])
    parts = (
        draw.integers(0, 50_257, min(2**22, tokens - start), np.uint16)
        for start in range(0, tokens, 2**22)
    )
    for name in ("tokens", "selection"):
        (folder / name).mkdir()
    ids = write_hashed(folder / "tokens/train.ids", parts)
    ends = write_hashed(folder / "tokens/train.totals", [totals])
    split = {
        "tokens": tokens,
        "documents": total,
        "bytes": 4 * tokens,
        "sha256": {"ids": ids["sha256"], "totals": ends["sha256"]},
    }
    files = {"train": [{"name": "synthetic", "rows": total, "sha256": ""}]}
    vocabulary = {"encoding": "gpt2", "vocab_size": 50_257, "end_of_text": 50_256}
    source = {"name": "synthetic", "kind": "files", "column": "text", "files": files}
    content = {"source": source, "vocabulary": vocabulary, "splits": {"train": split}}
    (folder / "tokens/tokens.json").write_bytes(to_json(content))
    of = {
        "train.outcomes": np.zeros(total, np.uint8),
        "train.places": shuffled(total, SEED).astype("<i8"),
    }
    entries = {name: write_hashed(folder / "selection" / name, [own]) for name, own in of.items()}
    part = {"source": "train", "documents": total, "words": 0}
    made: Any = {"select": {"shuffle": SEED}, "splits": {"train": part}, "files": entries}
    write_selection(folder / "selection", made)


def _write(folder: Path, order: str) -> None:
    from slm.bins.writing.from_tokens import write_bins
    from slm.core.files import landing

    chosen = None if order == ORDERS[0] else (folder / "selection", _no_texts)
    with landing(folder / "bins") as out:
        made = write_bins(folder / "tokens", out, "append", selected=chosen)["splits"]["train"]
    print(json.dumps([made["tokens"], made["documents"], made["text_bytes"]]))


def _no_texts(block: object) -> tuple:
    raise AssertionError(f"no document has a text of its own: {block}")


TASKS = {"make": _make, "write": _write}

if __name__ == "__main__":
    run_main(main)
