"""Stage `describe`: data/<dataset>/bins -> metrics/<dataset>/tokens.json and three tables as CSV.

The audit's count of words is read too, for tokens per word, where a split has all documents of the
source's. summary.json has the few figures of tokens.json that DVC shows as its metrics.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from slm.bins.opening import Bins
from slm.core.errors import run_main
from slm.core.files import read_json, to_json, write_file
from slm.core.params import chosen, read_params, whole
from slm.core.rounding import ratio, rounded
from slm.stats.describe import counts, figures, lengths
from slm.stats.histograms import byte_rows, length_rows, rank_rows, to_csv
from slm.stores.opening import open_bins

SHOWN = ("tokens", "bytes_per_token")  # by `dvc metrics` and `dvc exp show`, a column each


def main() -> None:
    """Describe the bins of the dataset named on the command line."""
    params = read_params(Path("params.yaml"))
    name = chosen(params, sys.argv[1:])
    out, block_size = Path("metrics", name), whole(params, "describe", "block_size")
    bins, text = open_bins(Path("data", name, "bins")), read_json(out / "text.json")
    described, tables = _described(bins, text, block_size)
    write_file(out / "tokens.json", to_json(rounded(described)))
    write_file(out / "summary.json", to_json(rounded(_summary(described, bins.manifest["splits"]))))
    for table, rows in tables.items():
        write_file(out / f"{table}.csv", to_csv(table, rows))
    print(f"describe:   {_first(described)}")


def _described(bins: Bins, text: dict, block_size: int) -> tuple[dict, dict]:
    """The figures by split, and the rows of each table by split."""
    described: dict[str, Any] = {"vocab_size": bins.manifest["tokenizer"]["vocab_size"]}
    tables: dict[str, dict] = {}
    selection = bins.manifest.get("selection")
    words = {split: own["words"] for split, own in text.items()}
    words |= selection["words"] if selection else {}
    for split in bins.manifest["splits"]:
        seen = counts(bins, split)
        described[split] = figures(bins, split, block_size, seen)
        described[split]["tokens_per_word"] = ratio(described[split]["tokens"], words[split])
        rows = {
            "lengths": length_rows(lengths(bins, split)),
            "ranks": rank_rows(seen),
            "bytes": byte_rows(bins.docs(split)),
        }
        for table, own in rows.items():
            tables.setdefault(table, {})[split] = own
    if selection:
        described["selection"] = selection["steps"]
    return described, tables


def _summary(described: dict, splits: Iterable[str]) -> dict:
    """The vocabulary's size, and SHOWN of each split."""
    of = {split: {figure: described[split][figure] for figure in SHOWN} for split in splits}
    return {"vocab_size": described["vocab_size"], **of}


def _first(described: dict) -> str:
    """Two figures of the first split."""
    split, first = next((name, own) for name, own in described.items() if isinstance(own, dict))
    used = f"{100 * first['vocabulary_share']:.1f} % of the vocabulary used ({split})"
    words = first["tokens_per_word"]
    return f"{words:.2f} tokens per word, {used}" if words else used


if __name__ == "__main__":
    run_main(main)
