"""How long does a vocabulary take to train, beside Hugging Face? -m benchmark.data.vocabularies

In: a number of bytes of text (100 MB where none is given). Varied text is drawn from a seed: a
million and a half words of random letters, the frequent ones as in Zipf's law. Both trainers read
it from the same raw/ folder, as whole processes, three times for each size. Out: a table in
Markdown: seconds, peaks, and the ratio of the medians. Refuses to report unless the merges are the
same. Leaves nothing behind.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmark.data.measure import Measured, machine_line, measure, spread
from benchmark.data.runs import ROOT, python, say, size_asked
from slm.core.errors import check, run_main
from slm.training.hardware import machine

SIZE, SEED, WORDS, REPEATS = 100_000_000, 1337, 1_500_000, 3
SIZES = (1_024, 8_192, 32_768, 65_536)
LETTERS = "etaoinshrdlucmfwypvbgkjqxzéüñÀ"  # the first ones are the most frequent
LIBRARIES = ("tokenizers", "gigatoken", "numpy")


def main() -> None:
    """Measure each size, and print."""
    if sys.argv[1:2] == ["--one"]:
        TASKS[sys.argv[2]](Path(sys.argv[3]), int(sys.argv[4]))
        return
    size = size_asked(SIZE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say("drawing text")
        # In a process of its own, as this one must stay small: see benchmark.data.measure.
        subprocess.run(_one("draw", folder, size), cwd=ROOT, check=True)
        rows = [_row(folder, ids) for ids in SIZES]
    machine_ = machine_line(machine(*LIBRARIES), LIBRARIES)
    print(*HEAD, *rows, "", sep="\n")
    print(f"{size / 1e6:,.0f} MB of text, {REPEATS} runs of each, in turn; {machine_}")


def _one(task: str, folder: Path, number: int) -> list[str]:
    return python("benchmark.data.vocabularies", "--one", task, folder, number)


HEAD = (
    "| ids | ours: seconds, median (lowest–highest) | peak MB | Hugging Face's | peak MB | ratio |",
    "|---:|---:|---:|---:|---:|---:|",
)


def _row(folder: Path, ids: int) -> str:
    runs: dict[str, list[Measured]] = {"ours": [], "theirs": []}
    for number in range(REPEATS):
        for name, of in runs.items():
            say(f"{name}, {ids:,} ids ({number + 1} of {REPEATS})")
            of.append(measure(_one(name, folder, ids), ROOT, {}))
    merges = {run.output for of in runs.values() for run in of}
    check(len(merges) == 1, f"the merges of {ids:,} ids differ; report this")
    cells = [f"{ids:,}"]
    for of in runs.values():
        cells.append(spread(of))
        cells.append(f"{max(run.peak_bytes for run in of) / 1e6:,.0f}")
    ours, theirs = (median(run.seconds for run in of) for of in runs.values())
    return f"| {' | '.join([*cells, f'{ours / theirs:.2f}'])} |"


# ---- each in a process of its own ----


def _draw(folder: Path, size: int) -> None:
    import numpy as np

    from slm.text.corpus import make_raw

    draw = np.random.default_rng(SEED)
    lengths = draw.integers(2, 13, WORDS)
    of = 1 / np.arange(1, len(LETTERS) + 1)
    letters = np.array(list(LETTERS))[draw.choice(len(LETTERS), lengths.sum(), p=of / of.sum())]
    ends = np.append(0, np.cumsum(lengths)).tolist()
    joined = "".join(letters)
    words = [joined[start:end] for start, end in pairwise(ends)]
    rank = 1 / np.arange(3, WORDS + 3)
    drawn = draw.choice(WORDS, size // 5, p=rank / rank.sum()).tolist()
    (folder / "source").mkdir()
    with (folder / "source" / "train.jsonl").open("w", encoding="utf-8") as file:
        for start in range(0, len(drawn), 200):
            text = " ".join(words[word] for word in drawn[start : start + 200]) + "."
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            size -= len(text.encode())
            if size <= 0:
                break
    (folder / "raw").mkdir()
    entry = {"kind": "files", "files": {"train": ["train.jsonl"]}}
    make_raw("varied", entry, folder / "source", folder / "raw")


def _ours(folder: Path, ids: int) -> None:
    from slm.tokens.bpe import encoding_of, tokenizer_json
    from slm.tokens.training.merges import train
    from slm.tokens.wanted import Wanted

    # One id more for end-of-text, which is none of theirs.
    merges = train(Wanted("bpe", ids + 1), folder / "raw")
    _print(tokenizer_json(encoding_of(merges)))


def _theirs(folder: Path, ids: int) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    from slm.text.blocks import read_blocks

    level = pre_tokenizers.ByteLevel
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = level(add_prefix_space=False)
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
