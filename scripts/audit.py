"""Stage `audit`: data/<dataset>/raw -> data/<dataset>/facts and metrics/<dataset>/text.json.

`make describe ROWS=kind` lists the documents that are counted there.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slm.core.errors import run_main
from slm.core.files import landing, to_json, write_file
from slm.core.params import chosen, read_params
from slm.core.rounding import rounded
from slm.selection.audit import Make, audit, shares
from slm.selection.facts import write_facts
from slm.selection.faults import advice
from slm.selection.workers import facts_by_workers, serve
from slm.text.raw import bytes_elsewhere

WORKER = [sys.executable, "-m", "scripts.audit", "--worker"]
MUCH = 64 * 2**20  # bytes of raw/, from which on processes are worth their start


def main() -> None:
    """Audit the text of the dataset named on the command line, or work for a process that does."""
    if sys.argv[1:] == ["--worker"]:
        serve()
    else:
        _audit(chosen(read_params(Path("params.yaml")), sys.argv[1:]))


def _audit(name: str) -> None:
    raw = Path("data", name, "raw")
    with _workers(raw) as (workers, make):
        audits = audit(raw, workers, make=make)
    with landing(raw.with_name("facts")) as facts:
        write_facts(facts, {split: of.facts for split, of in audits.items()})
    figures = {split: {"documents": len(a.facts), **shares(a)} for split, a in audits.items()}
    out = Path("metrics", name)
    out.mkdir(parents=True, exist_ok=True)
    write_file(out / "text.json", to_json(rounded(figures)))
    print(f"audit:      {_faults(figures)}")
    if cure := advice(raw, audits):
        print(f"            {cure}")


@contextmanager
def _workers(raw: Path) -> Iterator[tuple[int, Make | None]]:
    """How many threads make facts, and by what: by processes where there is much text."""
    cores = os.cpu_count() or 1
    size = sum(path.stat().st_size for path in raw.iterdir()) if raw.is_dir() else 0
    size += bytes_elsewhere(raw) if size else 0
    if cores == 1 or size < MUCH:
        yield cores, None
    else:
        with facts_by_workers(cores, WORKER) as make:
            yield cores, make


def _faults(figures: dict) -> str:
    """How many documents are at fault, by kind, over all splits."""
    totals: dict[str, int] = {}
    for split in figures.values():
        for kind, value in split.items():
            if isinstance(value, dict):
                kind = "in several splits" if kind.startswith("also_in_") else kind
                totals[kind] = totals.get(kind, 0) + value["documents"]
    some = [f"{n:,} {kind.replace('_', ' ')}" for kind, n in totals.items() if n]
    return ", ".join(some) or "no faults"


if __name__ == "__main__":
    run_main(main)
