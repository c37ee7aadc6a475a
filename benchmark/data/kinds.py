"""How fast is text read from files of each kind, and in how much memory? -m benchmark.data.kinds

In: a number of bytes of text (2 GB where none is given). The stories of `make bench-data` are
written over and over as one file of each kind; the stages download and tokenize read it, as whole
processes, three times. Out: a table in Markdown, MB/s of text and the peak of the process tree.
Refuses to report unless every kind gives the ids that .jsonl gives. Leaves only the stories.
"""

import csv
import gzip
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmark.data.measure import LIBRARIES, Measured, machine_line
from benchmark.data.runs import ROOT, TOKENIZER, WORK, python, size_asked, stage, stories
from slm.core.errors import check, run_main
from slm.core.files import read_json
from slm.core.tables import say
from slm.training.hardware import machine

DOCUMENTS, SIZE, REPEATS = 100_000, 2_000_000_000, 3
SEPARATOR = "<|endoftext|>"
PARAMS = """
dataset: bench
datasets:
  bench: {{kind: files, files: {{train: [{name}]}}{more}}}
bins: {{end_of_text: none}}
"""


def main() -> None:
    """Measure each kind, and print."""
    if sys.argv[1:2] == ["--write"]:
        _write(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
        return
    size = size_asked(SIZE)
    WORK.mkdir(parents=True, exist_ok=True)
    source = stories(WORK, DOCUMENTS)
    rows, hashes = [], set()
    for name in KINDS:
        with tempfile.TemporaryDirectory(prefix="run-", dir=WORK) as folder:
            runs, text_bytes, ids = _run(Path(folder), name, source, size)
        hashes.add(ids)
        check(len(hashes) == 1, f"{name} gives other ids than .jsonl; report this")
        rows.append(_row(name, runs, text_bytes))
    print(*HEAD, *rows, "", _on(text_bytes), sep="\n")


def _run(folder: Path, name: str, source: Path, size: int) -> tuple:
    """The runs of both stages on a file, the bytes of text in it, and its ids' hashes."""
    say(f"writing {name}")
    path = folder / "data/bench/source" / name
    path.parent.mkdir(parents=True)
    # In a process of its own, as this one must stay small: see benchmark.data.measure.
    subprocess.run(
        python("benchmark.data.kinds", "--write", path, source, size), cwd=ROOT, check=True
    )
    more = f', separator: "{SEPARATOR}"' if name.endswith(".txt") else ""
    (folder / "params.yaml").write_text(PARAMS.format(name=name, more=more) + TOKENIZER)
    runs: dict[str, list[Measured]] = {"download": [], "tokenize": []}
    for number in range(REPEATS):
        for made in ("raw", "tokens"):
            shutil.rmtree(folder / "data/bench" / made, ignore_errors=True)
        runs["download"].append(stage(folder, "download", "download", f" of {name}"))
        if not number:
            stage(folder, "vocabulary", "make_vocabulary")
        runs["tokenize"].append(stage(folder, "tokenize", "tokenize_text", f" of {name}"))
    train = read_json(folder / "data/bench/tokens/tokens.json")["splits"]["train"]
    return runs, train["bytes"], json.dumps(train["sha256"])


def _write(path: Path, source: Path, size: int) -> None:
    KINDS[path.name](path, _texts(source, size))


def _texts(source: Path, size: int) -> Iterator[str]:
    """The stories, over and over, until they have so many bytes."""
    import pyarrow.parquet as pq

    while True:
        for batch in pq.ParquetFile(source / "first.parquet").iter_batches(10_000):
            for text in batch.column(0).to_pylist():
                if size <= 0:
                    return
                size -= len(text.encode())
                yield text


# ---- files of each kind, as others write them ----


def _jsonl(path: Path, texts: Iterable[str], opened: Callable = open) -> None:
    with opened(path, "wt", encoding="utf-8") as file:
        for text in texts:
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")


def _zst(path: Path, texts: Iterable[str]) -> None:
    import pyarrow as pa

    with pa.CompressedOutputStream(str(path), "zstd") as file:
        for text in texts:
            file.write(json.dumps({"text": text}, ensure_ascii=False).encode() + b"\n")


def _array(path: Path, texts: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for number, text in enumerate(texts):
            file.write(",\n " if number else "[\n ")
            file.write(json.dumps({"text": text}, ensure_ascii=False))
        file.write("\n]\n")


def _csv(path: Path, texts: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text"])
        rows.writerows([text] for text in texts)


def _txt(path: Path, texts: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for text in texts:
            file.write(text + SEPARATOR)


def _columns(path: Path, texts: Iterable[str]) -> None:
    """Parquet or an Arrow stream in parts of 1,000 rows, as `datasets` writes them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("text", pa.string())])
    with ExitStack() as stack:
        if path.suffix == ".parquet":
            write = stack.enter_context(pq.ParquetWriter(path, schema, compression="zstd")).write
        else:
            write = stack.enter_context(pa.ipc.new_stream(str(path), schema)).write
        part: list[str] = []
        for text in texts:
            part.append(text)
            if len(part) == 1000:
                write(pa.table({"text": part}, schema))
                part = []
        write(pa.table({"text": part}, schema))


KINDS: dict[str, Callable[[Path, Iterable[str]], None]] = {
    "train.jsonl": _jsonl,
    "train.jsonl.gz": lambda path, texts: _jsonl(path, texts, gzip.open),
    "train.jsonl.zst": _zst,
    "train.json": _array,
    "train.csv": _csv,
    "train.txt": _txt,
    "train.parquet": _columns,
    "train.arrow": _columns,
}

# ---- the table ----

HEAD = (
    "| | download: MB/s of text, median (lowest–highest) | peak MB | tokenize: MB/s | peak MB |",
    "|---|---:|---:|---:|---:|",
)


def _row(name: str, runs: dict[str, list[Measured]], text_bytes: int) -> str:
    cells = [f"`{name.removeprefix('train')}`"]
    for of in runs.values():
        rates = [text_bytes / 1e6 / run.seconds for run in of]
        cells.append(f"{median(rates):,.0f} ({min(rates):,.0f}–{max(rates):,.0f})")
        cells.append(f"{max(run.peak_bytes for run in of) / 1e6:,.0f}")
    return f"| {' | '.join(cells)} |"


def _on(text_bytes: int) -> str:
    machine_ = machine_line(machine(*LIBRARIES), LIBRARIES)
    return f"{text_bytes / 1e9:.1f} GB of text in one file, {REPEATS} runs; {machine_}"


if __name__ == "__main__":
    run_main(main)
