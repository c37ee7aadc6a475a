"""What was found out about one tokenization of a dataset: all that the reports are made from."""

from typing import NamedTuple

from slm.tokens.from_file import Encoding


class Result(NamedTuple):
    """One variant of a dataset's tokenization."""

    label: str  # "gpt2", "gpt2, end of text appended", "bpe 4,096"
    name: str  # of its DVC experiment, as "sample-bpe-4096-none-1a2b3c4d"
    commit: str  # 40 hex digits, of the experiment
    encoding: Encoding
    end_of_text: str  # none | append | prepend
    metrics: dict  # tokens.json: {"vocab_size": n, "<split>": {…}}
    training: dict | None  # of scripts/train_variants.py, where it was trained on
    lossy: int = 0  # documents whose ids do not give their text back
