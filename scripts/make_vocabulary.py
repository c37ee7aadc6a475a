"""Stage `vocabulary`: name the vocabulary that text is encoded with, or train it on the text."""

import sys
from pathlib import Path

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
    name, size = tokenizer(params)
    if size:
        encoding = encoding_of(train(folder / "raw", size, folder / "selection"))
    else:
        encoding = load_encoding(name)
    with landing(folder / "vocabulary") as out:
        write_vocabulary(out, encoding)
    print(f"vocabulary: {encoding.name}, {encoding.n_vocab:,} ids")


if __name__ == "__main__":
    run_main(main)
