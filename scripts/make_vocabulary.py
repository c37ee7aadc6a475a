"""Stage `vocabulary`: name the vocabulary that text is encoded with, or train, read or fetch it."""

import sys
from pathlib import Path

from slm.core.errors import run_main
from slm.core.files import landing
from slm.core.params import choice, chosen, read_params
from slm.tokens.agreement import AGREEMENTS
from slm.tokens.bpe import write_vocabulary
from slm.tokens.from_file import FILE, FileTokenizer
from slm.tokens.making import make
from slm.tokens.tokenizer import ENGINES, choose_engine
from slm.tokens.wanted import wanted


def main() -> None:
    """Write data/<dataset>/vocabulary for the dataset on the command line."""
    params = read_params(Path("params.yaml"))
    folder = Path("data", chosen(params, sys.argv[1:]))
    copies = [folder / "bins" / FILE]
    encoding = make(wanted(params), folder / "raw", folder / "selection", copies)
    engine = choice(params, "tokenizer", "engine", ENGINES)
    with landing(folder / "vocabulary") as out:
        write_vocabulary(out, encoding)
    more = f" ({_engine_note(engine, encoding)})" if isinstance(encoding, FileTokenizer) else ""
    print(f"vocabulary: {encoding.name}, {encoding.n_vocab:,} ids{more}")


def _engine_note(wanted_engine: str, encoding: FileTokenizer) -> str:
    engine, why = choose_engine(wanted_engine, encoding, AGREEMENTS)
    same = f"; {engine} was compared: it gives the ids of tokenizers"
    return why or f"{encoding.model}{same if engine == 'gigatoken' else ''}"


if __name__ == "__main__":
    run_main(main)
