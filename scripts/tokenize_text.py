"""Stage `tokenize`: data/<dataset>/raw and vocabulary -> data/<dataset>/tokens.

Finished units of work wait in data/<dataset>/units until all are: what was killed goes on. They may
be made by the workers of a cluster (EXECUTOR=dask SCHEDULER=tcp://…), or beforehand, in any order,
on any machines with this disk: `--count` prints how many there are, `--unit N` makes one. The other
flags change how fast it is, and never a byte.
"""

import argparse
import os
import shutil
from functools import partial
from pathlib import Path

from slm.core.errors import check, positive, run_main
from slm.core.files import landing, read_json
from slm.core.params import choice, read_params, whole
from slm.text.blocks import BLOCK_BYTES
from slm.text.units import Unit, all_units
from slm.tokens.agreement import AGREEMENTS
from slm.tokens.reference import Encoding
from slm.tokens.token_files import documents_bar, folder_of, in_turn, tokens_in_units
from slm.tokens.tokenizer import ENGINES, choose_engine, encoder
from slm.tokens.units.cluster import Cluster, carried_out, wanted
from slm.tokens.units.identity import CODE, libraries
from slm.tokens.units.making import Work, make_missing
from slm.tokens.units.orders import Order
from slm.tokens.vocabulary import describe, load_described


def main() -> None:
    """Encode the text of the dataset named on the command line."""
    args = _arguments()
    folder, params = Path("data", args.dataset), read_params(Path("params.yaml"))
    unit_bytes, engine = whole(params, "tokenizer", "unit_bytes"), _engine(params)
    raw, vocabulary, below = (folder / name for name in ("raw", "vocabulary", "units"))
    _check_there(folder, "raw")
    if args.count:
        print(len(all_units(raw, unit_bytes)))
        return
    _check_there(folder, "vocabulary")
    encoding = load_described(read_json(vocabulary / "vocabulary.json"), vocabulary)
    if args.unit is not None:
        units, own = all_units(raw, unit_bytes), folder_of(below, raw, encoding, unit_bytes)
        _make_one(args, units, own, _work(args, raw, encoding, engine)[0])
        return
    if cluster := wanted(os.environ):
        order = _order(args, folder, encoding, engine)
        make, by = partial(_elsewhere, cluster, order), f"on {cluster.scheduler}"
    else:
        work, by = _work(args, raw, encoding, engine)
        make = partial(in_turn, work)
    with landing(folder / "tokens") as out:
        splits = tokens_in_units(raw, encoding, out, below, unit_bytes, make)
    shutil.rmtree(below, ignore_errors=True)
    print(f"tokenize:   {sum(split['tokens'] for split in splits.values()):,} tokens {by}")


def _engine(params: dict) -> str:
    return choice(params, "tokenizer", "engine", ENGINES)


def _work(args: argparse.Namespace, raw: Path, encoding: Encoding, wanted: str) -> tuple[Work, str]:
    """Returns how this process makes units, and by which engine, in words."""
    engine, why = choose_engine(wanted, encoding, AGREEMENTS)
    encode = encoder(engine, encoding, AGREEMENTS)
    work = Work(raw, encoding, encode, args.workers, args.block_bytes)
    return work, f"by {engine}{f' ({why})' if why else ''}"


def _order(args: argparse.Namespace, folder: Path, encoding: Encoding, engine: str) -> Order:
    """Returns an order without its unit, and where that goes."""
    here = folder.resolve()
    return Order(
        unit=Unit("", 0, 0, 0, 0, ()),
        raw=str(here / "raw"),
        vocabulary=str(here / "vocabulary"),
        folder="",
        known=str(AGREEMENTS.resolve()),
        engine=engine,
        block_bytes=args.block_bytes,
        described=dict(describe(encoding)),
        code=CODE,
        libraries=libraries(),
    )


def _elsewhere(cluster: Cluster, order: Order, units: list[Unit], folder: Path) -> None:
    here = order._replace(folder=str(folder.resolve()))
    with documents_bar(f"{len(units)} units", units) as bar:
        carried_out(cluster, [here._replace(unit=unit) for unit in units], bar.update)
    for unit in units:
        check(
            (folder / unit.name).is_dir(),
            f"the workers made {unit.name}, and {folder / unit.name} is not on this disk; run them "
            "on this clone, on a disk that all share; where another run has just ended and removed "
            "it, run the same command again",
        )


def _make_one(args: argparse.Namespace, units: list[Unit], folder: Path, work: Work) -> None:
    """Makes one unit, unless it is there."""
    last = len(units) - 1
    check(args.unit <= last, f"{args.dataset} has units 0 to {last}; {args.unit} is none of them")
    unit = units[args.unit]
    with documents_bar(unit.name, [unit]) as bar:
        made = make_missing(work, unit, folder, bar.update)
    print(f"unit {args.unit}: {unit.name}, {'made' if made else 'was there'}")


def _check_there(folder: Path, name: str) -> None:
    check(
        (folder / name).is_dir(),
        f"{folder / name} is missing; set `dataset: {folder.name}` in params.yaml, then "
        "`dvc repro vocabulary` makes it",
    )


def _number(word: str) -> int:
    return 0 if word and not word.strip("0") else positive(word)


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
