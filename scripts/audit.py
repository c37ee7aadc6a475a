"""Stage `audit`: data/<dataset>/raw -> data/<dataset>/facts and metrics/<dataset>/text.json.

`make describe ROWS=kind` lists the documents that are counted there.
"""

import os
import sys
from pathlib import Path

from slm.core.errors import run_main
from slm.core.files import landing, to_json, write_file
from slm.core.params import chosen, read_params
from slm.core.rounding import rounded
from slm.selection.audit import audit, shares
from slm.selection.facts import write_facts
from slm.selection.faults import advice


def main() -> None:
    """Audit the text of the dataset named on the command line."""
    name = chosen(read_params(Path("params.yaml")), sys.argv[1:])
    raw = Path("data", name, "raw")
    audits = audit(raw, os.cpu_count() or 1)
    with landing(raw.with_name("facts")) as facts:
        write_facts(facts, {split: of.facts for split, of in audits.items()})
    figures = {split: {"documents": len(a.facts), **shares(a)} for split, a in audits.items()}
    out = Path("metrics", name)
    out.mkdir(parents=True, exist_ok=True)
    write_file(out / "text.json", to_json(rounded(figures)))
    print(f"audit:      {_faults(figures)}")
    if cure := advice(raw, audits):
        print(f"            {cure}")


def _faults(figures: dict) -> str:
    """How many documents are at fault, by kind, over all splits."""
    totals: dict[str, int] = {}
    for split in figures.values():
        for kind, value in split.items():
            if isinstance(value, dict):
                kind = "in several splits" if kind.startswith("also_in_") else kind
                totals[kind] = totals.get(kind, 0) + value["documents"]
    return ", ".join(f"{n:,} {kind.replace('_', ' ')}" for kind, n in totals.items())


if __name__ == "__main__":
    run_main(main)
