"""What benchmarks of text to bins share: stories, a stage as a whole process, a word on the way.

In: a work folder, which keeps the stories for the next run, and a folder as the scripts
expect it. Out: what each run took.
"""

import os
import subprocess
import sys
from pathlib import Path

from benchmark.data.measure import Measured, measure
from benchmark.data.shards import folder_of
from slm.core.errors import UserError, check
from slm.core.tables import say

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "benchmark" / "stories"
TOKENIZER = (  # a line of params.yaml, as it is shipped
    "tokenizer: {encoding: gpt2, vocab_size: null, pattern: gpt2, special_tokens: [], file: null, "
    "path: null, revision: null, sha256: null, end_of_text: null, unit_bytes: 2000000000, "
    "engine: gigatoken}\n"
)


def size_asked(size: int) -> int:
    """The number of bytes on the command line, such as 1e8, or else `size`."""
    word = sys.argv[1] if len(sys.argv) > 1 else str(size)
    try:
        asked = int(float(word))
    except (ValueError, OverflowError):
        asked = 0
    check(asked > 0, f"{word!r} is no number of bytes; give one such as 1e8")
    return asked


def python(module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", module, *map(str, arguments)]


def stories(work: Path, documents: int) -> Path:
    folder = folder_of(work, documents)
    if not folder.is_dir():
        say(f"making {documents:,} stories (kept for the next run)")
        # in a process of its own, as this one must stay small: see benchmark.data.measure
        if subprocess.run(python("benchmark.data.shards", work, documents), cwd=ROOT).returncode:
            raise UserError("the stories could not be made, for the reason above")
    return folder


def stage(folder: Path, stage: str, script: str, which: str = "") -> Measured:
    say(f"our stage {stage}{which}")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return measure(python(f"scripts.{script}", "bench"), folder, env)
