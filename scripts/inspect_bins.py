"""Print documents decoded from the bins, with their positions and where they came from."""

import argparse
import random
from collections.abc import Iterable
from pathlib import Path

from scripts._command import asked
from slm.bins.documents import document, number_at
from slm.bins.opening import Bins
from slm.core.errors import UserError, positive, run_main
from slm.stores.opening import open_bins

SHOWN = 12  # ids of a document, unless --ids asks for all


def main() -> None:
    """Open the bins that were asked for and print the documents that were asked for."""
    args = _arguments()
    _, name = asked(args.dataset)
    bins = open_bins(Path("data", name, "bins"))
    if args.split not in bins.manifest["splits"]:
        known = ", ".join(bins.manifest["splits"])
        raise UserError(f"{name} has no split {args.split!r}, only {known}")
    for number in _chosen(args, bins):
        doc = document(bins, args.split, number)
        ids = doc.ids if args.ids else doc.ids[:SHOWN]
        more = " …" if len(ids) < len(doc.ids) else ""
        print(
            f"--- {args.split} document {number:,}: tokens {doc.start:,} to "
            f"{doc.start + len(doc.ids):,} ({len(doc.ids):,} tokens, "
            f"{doc.text_bytes:,} bytes), {doc.source}\n"
            f"ids: {' '.join(map(str, ids))}{more}\n{bins.decode(doc.ids)}\n"
        )


def _chosen(args: argparse.Namespace, bins: Bins) -> Iterable[int]:
    if args.token is not None:
        return [number_at(bins, args.split, args.token)]
    if args.random is not None:
        draw, documents = random.Random(args.seed), bins.manifest["splits"][args.split]["documents"]
        return [int(draw.random() * documents) for _ in range(args.random)]
    return args.document


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make inspect ARGS=…", description=__doc__)
    parser.add_argument("--dataset", help="another than params.yaml names")
    parser.add_argument("--split", default="train")
    parser.add_argument("--ids", action="store_true", help="print all ids, not the first twelve")
    parser.add_argument("--seed", type=int, default=0, help="of --random")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--document", type=int, nargs="+", default=[0], help="by number, from 0")
    ways.add_argument("--token", type=int, help="the document that holds this token position")
    ways.add_argument("--random", type=positive, metavar="N", help="N documents at random, by seed")
    return parser.parse_args()


if __name__ == "__main__":
    run_main(main)
