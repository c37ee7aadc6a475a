"""Stage `tokenize`: data/<dataset>/raw and vocabulary -> data/<dataset>/tokens.

Finished units of work wait in data/<dataset>/units until all are: what was killed goes on. They may
be made beforehand, in any order, on any machines with this disk: `--count` prints how many there
are, `--unit N` makes one. The other flags change how fast it is and never a byte.
"""

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

from tqdm import tqdm

from slm.core.errors import check, positive, run_main
from slm.core.files import landing, read_json
from slm.core.params import choice, read_params, whole
from slm.text.blocks import BLOCK_BYTES
from slm.text.units import all_units
from slm.tokens.agreement import AGREEMENTS
from slm.tokens.reference import Encoding
from slm.tokens.token_files import folder_of, make_missing, make_tokens
from slm.tokens.tokenizer import ENGINES, choose_engine, encoder
from slm.tokens.units.making import Work
from slm.tokens.vocabulary import load_described


def main() -> None:
    """Encode the text of the dataset named on the command line."""
    args = _arguments()
    folder, params = Path("data", args.dataset), read_params(Path("params.yaml"))
    unit_bytes = whole(params, "tokenizer", "unit_bytes")
    wanted = choice(params, "tokenizer", "engine", ENGINES)
    if args.count or args.unit is not None:
        _check_there(folder)
    if args.count:
        print(len(all_units(folder / "raw", unit_bytes)))
        return
    encoding = _encoding(folder / "vocabulary")
    engine, why = choose_engine(wanted, encoding, AGREEMENTS)
    by = f"by {engine}{f' ({why})' if why else ''}"
    if args.unit is not None:
        _make_one(args, folder, encoding, engine, unit_bytes)
        return
    with landing(folder / "tokens") as out:
        splits = make_tokens(
            folder / "raw", encoding, out, engine, args.workers, args.block_bytes, AGREEMENTS,
            unit_bytes, folder / "units",
        )  # fmt: skip
    shutil.rmtree(folder / "units", ignore_errors=True)
    tokens = sum(split["tokens"] for split in splits.values())
    print(f"tokenize:   {tokens:,} tokens {by}")


def _make_one(args: Any, folder: Path, encoding: Encoding, engine: str, unit_bytes: int) -> None:
    """Makes one unit, unless it is there."""
    units = all_units(folder / "raw", unit_bytes)
    last = len(units) - 1
    check(args.unit <= last, f"{args.dataset} has units 0 to {last}; {args.unit} is none of them")
    encode, unit = encoder(engine, encoding, AGREEMENTS), units[args.unit]
    work = Work(folder / "raw", encoding, encode, args.workers, args.block_bytes)
    own = folder_of(folder / "units", work.raw, encoding, unit_bytes)
    with tqdm(desc=unit.name, total=unit.documents, unit="doc", delay=2, disable=None) as bar:
        made = make_missing(work, unit, own, bar)
    print(f"unit {args.unit}: {unit.name}, {'made' if made else 'was there'}")


def _check_there(folder: Path) -> None:
    for name in ("raw", "vocabulary"):
        check(
            (folder / name).is_dir(),
            f"{folder / name} is missing; set `dataset: {folder.name}` in params.yaml, then "
            "`dvc repro vocabulary` makes it",
        )


def _encoding(vocabulary: Path) -> Encoding:
    return load_described(read_json(vocabulary / "vocabulary.json"), vocabulary)


def _number(word: str) -> int:
    return positive(word) if word.strip("0") else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--workers", type=positive, default=os.cpu_count(), help="threads")
    parser.add_argument("--block-bytes", type=positive, default=BLOCK_BYTES, help="of one piece")
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--unit", type=_number, metavar="N", help="make unit N alone, from 0 on")
    one.add_argument("--count", action="store_true", help="print how many units there are")
    return parser.parse_args()


if __name__ == "__main__":
    run_main(main)
