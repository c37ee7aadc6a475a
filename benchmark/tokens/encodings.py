"""How fast are the engines on each published encoding? -m benchmark.tokens.encodings

In: a number of bytes of text (100 MB where none is given). Stories, code and varied text, each
encoded by gigatoken and by tiktoken on one core, in turn, three times, each in a process of its
own; seconds are those of encoding blocks that are in memory, start-up left out. Out: a table in
Markdown. Refuses to report unless both engines give the same ids. Leaves nothing behind.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmark.data.measure import machine_line
from benchmark.data.runs import ROOT, python, size_asked
from slm.core.errors import check, run_main
from slm.core.tables import say
from slm.training.hardware import machine

SIZE, REPEATS = 100_000_000, 3
ENCODINGS = ("gpt2", "cl100k_base", "o200k_base", "llama3", "qwen")
ENGINES, TEXTS = ("gigatoken", "tiktoken"), ("stories", "code", "varied")
LIBRARIES = ("gigatoken", "tiktoken")
HEAD = (
    "| encoding | text | gigatoken: MB/s, median (lowest–highest) | tiktoken: MB/s | times |",
    "|---|---|---:|---:|---:|",
)


def main() -> None:
    """Measure each encoding on each text, and print."""
    if sys.argv[1:2] == ["--one"]:
        _encode(Path(sys.argv[2]), sys.argv[3], sys.argv[4])
        return
    if sys.argv[1:2] == ["--draw"]:
        _draw(Path(sys.argv[2]), int(sys.argv[3]))
        return
    size = size_asked(SIZE)
    with tempfile.TemporaryDirectory() as name:
        say("drawing text")
        words = python("benchmark.tokens.encodings", "--draw", name, size)
        subprocess.run(words, cwd=ROOT, check=True)
        rows = [_row(Path(name), name_, text) for name_ in ENCODINGS for text in TEXTS]
    print(*HEAD, *rows, "", sep="\n")
    line = machine_line(machine(*LIBRARIES), LIBRARIES)
    print(f"{size / 1e6:,.0f} MB of each text, {REPEATS} runs of each on one core, in turn; {line}")


def _row(folder: Path, name: str, text: str) -> str:
    runs: dict[str, list[dict]] = {engine: [] for engine in ENGINES}
    for number in range(REPEATS):
        for engine, made in runs.items():
            say(f"{name} by {engine}, {text} ({number + 1} of {REPEATS})")
            words = python("benchmark.tokens.encodings", "--one", folder / text, name, engine)
            done = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True)
            made.append(json.loads(done.stdout))
    hashes = {run["sha256"] for made in runs.values() for run in made}
    check(len(hashes) == 1, f"the engines differ on {name}; report this")
    speeds = {
        engine: [run["bytes"] / run["seconds"] / 1e6 for run in made]
        for engine, made in runs.items()
    }
    cells = [f"{median(of):,.1f} ({min(of):,.1f}–{max(of):,.1f})" for of in speeds.values()]
    fast, slow = (median(of) for of in speeds.values())
    return f"| {name} | {text} | {' | '.join(cells)} | {fast / slow:.1f} |"


# ---- each in a process of its own ----


def _draw(folder: Path, size: int) -> None:
    from benchmark.tokens.texts import write_code, write_stories, write_varied

    write_stories(folder / "stories", size)
    write_code(folder / "code", size)
    write_varied(folder / "varied", size)


def _encode(folder: Path, name: str, engine: str) -> None:
    from slm.text.blocks import read_blocks
    from slm.tokens.published import load_encoding
    from slm.tokens.tokenizer import encoder

    encode, digest, size, seconds = encoder(engine, load_encoding(name)), hashlib.sha256(), 0, 0.0
    for number, block in enumerate(read_blocks(folder / "raw", "train")):
        if number == 0:
            encode(block._replace(offsets=block.offsets[:2], data=block.data[: block.offsets[1]]))
        start = time.perf_counter()
        ids, _ = encode(block)
        seconds += time.perf_counter() - start
        digest.update(ids.astype("<u4").tobytes())
        size += len(block.data)
    print(json.dumps({"seconds": seconds, "bytes": size, "sha256": digest.hexdigest()}))


if __name__ == "__main__":
    run_main(main)
