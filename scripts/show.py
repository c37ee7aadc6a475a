"""`make describe`: show what the bins are like, in figures and pictures, and audit their text.

The figures are those of metrics/<dataset>, built first where they are not there. The pictures are
drawn from them, into reports/<dataset>/describe. With ROWS=kind the documents of one kind of
fault are listed, with ROWS=dropped those that the selection left out, with ROWS=repaired those that
it repaired.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

from compare.columns import SPLIT, Column, Table, columns_of
from compare.pictures.draw import describe_pictures
from compare.table import lines
from scripts._command import about, alone, answering, asked, parser
from scripts.make_data import built
from slm.bins.opening import Bins
from slm.cards.about import tokenizer
from slm.core.errors import run_main
from slm.core.files import read_json
from slm.core.tables import aligned
from slm.selection.faults import faults
from slm.selection.left_out import left_out, repaired_texts
from slm.stores.opening import open_bins
from slm.versions.pipeline import build

OF_SELECTION = {"dropped": left_out, "repaired": repaired_texts}
READ = ("raw", "facts", "selection")  # what the lists of documents are made from


def main() -> None:
    """Show the dataset named on the command line, or the one that params.yaml names."""
    command = parser("describe", __doc__, answers=True)
    command.add_argument("--rows", metavar="KIND", help="list the documents of one kind")
    args = command.parse_args()
    with answering(args.json) as answer:
        with alone("describe"):
            params, name = asked(args.dataset)
            folder = Path("data", name)
            with built(name, params):
                if args.rows and not all((folder / step).is_dir() for step in READ):  # after a pull
                    build(f"select@{name}")
        answer |= about(bins := open_bins(folder / "bins"))
        if args.rows:
            answer["rows"] = [*_printed(_rows(folder, args.rows), keep=args.json)]
        else:
            answer |= _show(name, bins)


def _printed(rows: Iterator[str], keep: bool) -> Iterator[str]:
    """Print each line; yields those that are kept."""
    for row in rows:
        print(row)
        if keep:
            yield row


def _rows(folder: Path, kind: str) -> Iterator[str]:
    """A line for each document of a kind: of fault, or of what the selection did."""
    raw, facts, selection = (folder / step for step in READ)
    if kind in OF_SELECTION:
        return OF_SELECTION[kind](raw, selection)
    return faults(raw, facts, kind, tuple(OF_SELECTION))


def _show(name: str, bins: Bins) -> dict:
    """Print figures and draw pictures; returns the figures, and where the pictures are."""
    metrics = Path("metrics", name)
    tokens, text = (read_json(metrics / f"{name}.json") for name in ("tokens", "text"))
    splits = tuple(split for split, own in tokens.items() if isinstance(own, dict))
    title = f"{name}, {tokens['vocab_size']:,} ids"
    figures = columns_of(SPLIT, [tokens[split] for split in splits])
    print(*tokenizer(bins.manifest), "", sep="\n")
    for table in (Table(title, splits, figures, []), _faults(text, tuple(text))):
        print(*lines(table, shutil.get_terminal_size((100, 24)).columns), sep="\n")
    if "selection" in tokens:
        print(*_steps(tokens["selection"]), "", sep="\n")
    pictures = [*describe_pictures(metrics, Path("reports", name, "describe"))]
    for path in pictures:
        print(f"drew {path}")
    return {"figures": tokens, "text": text, "pictures": [*map(str, pictures)]}


def _steps(steps: list[dict]) -> Iterator[str]:
    """A line for each step of the selection: what it took, and what it left."""
    rows = [("selection", "split", *("took", "left", "left, bytes", "left, tokens"))]
    for step in steps:
        left = (f"{step['left'][key]:,}" for key in ("documents", "bytes", "tokens"))
        rows.append((step["step"], step["split"], f"{step['took']['documents']:,}", *left))
    return aligned(rows, "<<>>>>")


def _faults(text: dict, splits: tuple[str, ...]) -> Table:
    """How many documents each kind of fault has, by split."""
    seen = dict.fromkeys(k for split in splits for k, v in text[split].items() if v is not None)
    kinds = [kind for kind in seen if kind not in ("documents", "words")]
    cells = {kind: tuple(_fault(text[split].get(kind)) for split in splits) for kind in kinds}
    return Table("documents with a fault", splits, [Column(*pair) for pair in cells.items()], [])


def _fault(counted: dict | None) -> str:
    """How many documents, and which share; nothing where a split cannot have the fault."""
    if counted is None:
        return "-"
    share = f" ({100 * counted['share']:.2g} %)" if counted["documents"] else ""
    return f"{counted['documents']:,}{share}"


if __name__ == "__main__":
    run_main(main)
