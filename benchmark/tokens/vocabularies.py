"""How long does a vocabulary take to train, beside Hugging Face? -m benchmark.tokens.vocabularies

In: a number of bytes of varied text (100 MB where none is given), and one of ids. Both trainers
read it from the same raw/ folder, as whole processes, three times in turn for each size and
pattern; more than 500 MB once. Out: a table in Markdown: seconds, peaks, and the ratio of the
medians. Refuses to report unless the merges are the same. Leaves nothing behind.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmark.data.measure import Measured, machine_line, measure, spread
from benchmark.data.runs import ROOT, python, size_asked
from slm.core.errors import check, run_main
from slm.core.tables import say
from slm.training.hardware import machine

SIZE, REPEATS, ONCE = 100_000_000, 3, 500_000_000
SIZES = (1_024, 8_192, 32_768, 65_536)  # of GPT-2's pattern
PATTERNS = ("cl100k", "o200k")  # at 32,768 ids
LIBRARIES = ("tokenizers", "gigatoken", "regex", "numpy")


def main() -> None:
    """Measure each size and pattern, and print."""
    if sys.argv[1:2] == ["--one"]:
        TASKS[sys.argv[2]](Path(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
        return
    size = size_asked(SIZE)
    repeats = REPEATS if size < ONCE else 1
    only = [int(float(word)) for word in sys.argv[2:3]]
    asked = [("gpt2", ids) for ids in only or SIZES]
    asked += [(pattern, ids) for pattern in PATTERNS for ids in only or [32_768]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say("drawing text")
        # In a process of its own, as this one must stay small: see benchmark.data.measure.
        subprocess.run(_one("draw", folder, size, "-"), cwd=ROOT, check=True)
        rows = [_row(folder, pattern, ids, repeats) for pattern, ids in asked]
    machine_ = machine_line(machine(*LIBRARIES), LIBRARIES)
    print(*HEAD, *rows, "", sep="\n")
    print(f"{size / 1e6:,.0f} MB of text, {repeats} runs of each, in turn; {machine_}")


def _one(task: str, folder: Path, number: int, pattern: str) -> list[str]:
    return python("benchmark.tokens.vocabularies", "--one", task, folder, number, pattern)


HEAD = (
    "| ids | pattern | ours: seconds, median (lowest–highest) | peak MB | Hugging Face's | peak MB "
    "| ratio |",
    "|---:|---|---:|---:|---:|---:|---:|",
)


def _row(folder: Path, pattern: str, ids: int, repeats: int) -> str:
    runs: dict[str, list[Measured]] = {"ours": [], "theirs": []}
    for number in range(repeats):
        for name, of in runs.items():
            say(f"{name}, {ids:,} ids, {pattern} ({number + 1} of {repeats})")
            of.append(measure(_one(name, folder, ids, pattern), ROOT, {}))
    merges = {run.output for of in runs.values() for run in of}
    check(len(merges) == 1, f"the merges of {ids:,} ids differ; report this")
    cells = [f"{ids:,}", pattern]
    for of in runs.values():
        cells.append(spread(of))
        cells.append(f"{max(run.peak_bytes for run in of) / 1e6:,.0f}")
    ours, theirs = (median(run.seconds for run in of) for of in runs.values())
    return f"| {' | '.join([*cells, f'{ours / theirs:.2f}'])} |"


# ---- each in a process of its own ----


def _draw(folder: Path, size: int, _: str) -> None:
    from benchmark.tokens.texts import write_varied

    write_varied(folder, size)


def _ours(folder: Path, ids: int, pattern: str) -> None:
    from slm.tokens.bpe import encoding_of, tokenizer_json
    from slm.tokens.training.merges import train
    from slm.tokens.wanted import Wanted

    # One id more for end-of-text, which is none of theirs.
    merges = train(Wanted("bpe", ids + 1, pattern), folder / "raw")
    _print(tokenizer_json(encoding_of(merges, pattern)))


def _theirs(folder: Path, ids: int, pattern: str) -> None:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    from slm.text.blocks import read_blocks
    from slm.tokens.patterns import PATTERNS

    level = pre_tokenizers.ByteLevel
    split = pre_tokenizers.Split(Regex(PATTERNS[pattern].plain), "isolated")
    letters = level(add_prefix_space=False, use_regex=False)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = (
        level(add_prefix_space=False)
        if pattern == "gpt2"
        else pre_tokenizers.Sequence([split, letters])
    )
    trainer = trainers.BpeTrainer(
        vocab_size=ids, initial_alphabet=level.alphabet(), show_progress=False
    )
    blocks = read_blocks(folder / "raw", "train")
    texts = (block.text(number) for block in blocks for number in range(block.documents))
    tokenizer.train_from_iterator(texts, trainer)
    _print(tokenizer.to_str())


def _print(file: str | bytes) -> None:
    """Prints a hash of the merges in a tokenizer.json, which has each as a list or as a string."""
    merges = json.loads(file)["model"]["merges"]
    lines = "\n".join(pair if isinstance(pair, str) else " ".join(pair) for pair in merges)
    print(len(merges), hashlib.sha256(lines.encode()).hexdigest())


TASKS = {"draw": _draw, "ours": _ours, "theirs": _theirs}

if __name__ == "__main__":
    run_main(main)
