"""Stage `vocabulary`: name the vocabulary that text is encoded with, or train it on the text."""

import sys
from pathlib import Path

import tiktoken

from slm.core.errors import run_main
from slm.core.files import landing
from slm.core.params import chosen, read_params, tokenizer
from slm.tokens.bpe import encoding_of, write_vocabulary
from slm.tokens.merges import train
from slm.tokens.vocabulary import load_encoding


def main() -> None:
    """Write data/<dataset>/vocabulary for the dataset on the command line."""
    params = read_params(Path("params.yaml"))
    folder = Path("data", chosen(params, sys.argv[1:]))
    encoding = _encoding(folder / "raw", *tokenizer(params))
    with landing(folder / "vocabulary") as out:
        write_vocabulary(out, encoding)
    print(f"vocabulary: {encoding.name}, {encoding.n_vocab:,} ids")


def _encoding(raw: Path, name: str, vocab_size: int | None) -> tiktoken.Encoding:
    return load_encoding(name) if vocab_size is None else encoding_of(train(raw, vocab_size))


if __name__ == "__main__":
    run_main(main)
