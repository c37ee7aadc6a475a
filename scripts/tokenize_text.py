"""Stage `tokenize`: data/<dataset>/raw and vocabulary -> data/<dataset>/tokens.

The flags change how fast it is and never a byte; without them they follow the machine.
"""

import argparse
import os
from pathlib import Path

from slm.core.errors import positive, run_main
from slm.core.files import landing, read_json
from slm.core.params import choice, read_params
from slm.text.blocks import BLOCK_BYTES
from slm.tokens.agreement import AGREEMENTS
from slm.tokens.token_files import make_tokens
from slm.tokens.tokenizer import ENGINES, choose_engine
from slm.tokens.vocabulary import load_described


def main() -> None:
    """Encode the text of the dataset named on the command line."""
    args = _arguments()
    folder = Path("data", args.dataset)
    vocabulary = folder / "vocabulary"
    encoding = load_described(read_json(vocabulary / "vocabulary.json"), vocabulary)
    wanted = choice(read_params(Path("params.yaml")), "tokenizer", "engine", ENGINES)
    engine, why = choose_engine(wanted, encoding, AGREEMENTS)
    with landing(folder / "tokens") as out:
        splits = make_tokens(
            folder / "raw", encoding, out, engine, args.workers, args.block_bytes, AGREEMENTS
        )
    tokens = sum(split["tokens"] for split in splits.values())
    print(f"tokenize:   {tokens:,} tokens by {engine}{f' ({why})' if why else ''}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--workers", type=positive, default=os.cpu_count(), help="threads")
    parser.add_argument("--block-bytes", type=positive, default=BLOCK_BYTES, help="of one piece")
    return parser.parse_args()


if __name__ == "__main__":
    run_main(main)
