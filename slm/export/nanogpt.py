"""nanoGPT's layout, which llama2.c and build-nanogpt read, too: ids, and nothing else.

    train.bin, val.bin   uint16, little-endian, no header
    meta.pkl             a pickle of {"vocab_size": n}, where the vocabulary is not GPT-2's: without
                         it the model is made for 50,304 ids

Read in nanoGPT's train.py (np.memmap(…, dtype=np.uint16); meta.pkl). uint32 is refused: the reader
would take it for twice as many ids of uint16.
"""

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from slm.bins.opening import Bins
from slm.core.errors import check
from slm.export.parts import Made, Options, link_ids, read, write

NAMES = {"validation": "val"}


def refuse(bins: Bins, _options: Options) -> None:
    """Raises UserError if the reader would misread these bins."""
    size = bins.vocab_size
    check(
        bins.manifest["dtype"] == "uint16",
        f"these bins have {size:,} ids, as uint32, and nanoGPT reads uint16; choose a "
        "tokenizer.encoding of at most 65,536 ids",
    )
    held = [split for split in bins.manifest["splits"] if _name(split) == "val.bin"]
    check(len(held) == 1, f"nanoGPT reads one val.bin, and these bins have {len(held)} splits for "
          "it; `select:` in params.yaml holds one out")  # fmt: skip


def write_files(bins: Bins, out: Path, _options: Options) -> Iterator[Made]:
    """Yields each file that it makes in `out`."""
    for split in bins.manifest["splits"]:
        yield link_ids(bins, split, out / _name(split))
    if bins.manifest["tokenizer"]["encoding"] != "gpt2":
        content = pickle.dumps({"vocab_size": bins.vocab_size}, protocol=4)
        yield write(out / "meta.pkl", [content])


def ids(folder: Path, _bins: Bins, split: str, _options: Options) -> Iterator[np.ndarray]:
    """Yields the ids of a split as the reader finds them."""
    return read(folder / _name(split), "<u2")


def _name(split: str) -> str:
    return f"{NAMES.get(split, split)}.bin"
