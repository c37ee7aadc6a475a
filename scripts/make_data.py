"""`make data`: build the bins that params.yaml asks for, unless they are there already.

Asks DVC whether all is done, as `dvc repro --allow-missing --dry` and `dvc data status` do, so
that bins that were pulled count although raw/ and tokens/ are not there; if not, runs `dvc repro`,
or stages bins and describe alone where only these have something to do: tokens/ come back from the
bins. One such command runs at a time. params.yaml names the dataset that is built, and the one
before it again where the build fails (but not where it is killed by SIGKILL).
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts._command import about, alone, answering, asked, choosing, parser, summary
from slm.bins.format import END_OF_TEXT
from slm.bins.manifest import read_manifest, url_in
from slm.core.errors import UserError, run_main
from slm.core.git import git
from slm.core.params import choice, dataset_of, whole, whole_or_none
from slm.selection import wanted as select
from slm.stores.opening import open_bins
from slm.stores.sending import check_store, missing_at
from slm.text.by_url.taking import is_by_url
from slm.text.finding import check_source
from slm.text.hub.pins import read_pins
from slm.tokens import wanted as tokenizer
from slm.tokens.from_file import FILE
from slm.tokens.making import check_wanted
from slm.tokens.tokenizer import ENGINES
from slm.tokens.units import cluster
from slm.versions.lock import locked_hash, settle
from slm.versions.pipeline import build, todo
from slm.versions.restore import restore

LOCK = Path("dvc.lock")


def main() -> None:
    """Build the dataset named on the command line, or the one that params.yaml names."""
    start = time.monotonic()
    description = "Build the bins that params.yaml asks for."
    args = parser("data", description, answers=True).parse_args()
    with answering(args.json) as answer, alone("data"):
        params, name = asked(args.dataset)
        folder = Path("data", name, "bins")
        with built(name, params) as ran:
            if ran and (url := url_in(folder)):  # DVC may have them from another day
                _check_store(url, folder)
        seconds = time.monotonic() - start
        print(f"built {folder} in {seconds:.1f} s" if ran else f"nothing to do: {folder} is built")
        summary(bins := open_bins(folder))
        answer |= about(bins) | {"built": ran}
        if git(Path(), "status", "-s", "dvc.lock").stdout:
            print(f"to keep this version: {to_commit(name, dataset_of(params, name))}")


def to_commit(name: str, entry: dict) -> str:
    """What commits a version: what is small, of every dataset, and no text of the user's."""
    pins, note = "", ""
    if entry["kind"] == "hub":
        pins = f" data/{name}/source"
    elif entry["kind"] == "files" and not is_by_url(entry):
        note = (
            f" (your text stays out; others put it into data/{name}/source, or `make pull` what "
            "you `make push`)"
        )
    return f"`git add dvc.lock params.yaml metrics{pins} && git commit -m {name}`{note}"


@contextmanager
def built(name: str, params: dict) -> Iterator[bool]:
    """Build what is missing of dataset `name`, for a block; yields whether anything was.

    params.yaml names the dataset then, and the one before it again where build or block fails.
    """
    check(params, name)
    with choosing(name, params):
        stages = todo(name, _is_selected(params, name))
        yield bool(stages) and _build(name, params, stages)


def _check_store(url: str, folder: Path) -> None:
    """Refuse bins of which the store has lost files."""
    for missing in missing_at(url, read_manifest(folder)):
        raise UserError(
            f"{url}/{missing} is not there; `rm -r {folder}`, then `dvc repro --force "
            "bins` sends it anew"
        )


def check(params: dict, name: str) -> None:
    """Refuse what a stage would refuse, before DVC removes what the stage made last time."""
    if (both := settle(LOCK)) is not None:
        again = (
            f"; built again, as both sides changed it: {', '.join(sorted(both))}" if both else ""
        )
        print(f"note: dvc.lock is merged by stage{again}", file=sys.stderr, flush=True)
    locked_hash(LOCK, f"bins@{name}", f"data/{name}/bins")  # refuses one that lies
    entry = dataset_of(params, name)
    select.wanted(params, name)
    whole(params, "describe", "block_size")
    choice(params, "tokenizer", "engine", ENGINES)
    whole(params, "tokenizer", "unit_bytes")
    cluster.wanted(os.environ)
    whole_or_none(params, "bins", "shard_tokens")
    policy = choice(params, "bins", "end_of_text", END_OF_TEXT)
    check_store(params["bins"].get("store"))  # a mapping, or the policy was refused
    copies = [Path("data", name, folder, FILE) for folder in ("vocabulary", "bins")]
    check_wanted(tokenizer.wanted(params), policy, copies)
    source = Path("data", name, "source")
    if is_by_url(entry) and not source.exists():  # DVC wants one, and git an entry in it
        source.mkdir(parents=True)
        (source / ".gitkeep").touch()
    if not source.is_dir():
        raise UserError(f"{source} is no folder; make it, or link it to your files")
    check_source(source)
    if entry["kind"] == "hub":
        read_pins(entry, source / "pins.json")


def _is_selected(params: dict, name: str) -> bool:
    """Whether the bins that are there hold what `select:` asks for."""
    try:
        manifest = read_manifest(Path("data", name, "bins"))
    except UserError:
        return False
    held = manifest["selection"]["select"] if "selection" in manifest else {}
    return held == select.as_entry(select.wanted(params, name))


def _build(name: str, params: dict, stages: set[str]) -> bool:
    """Build from the bins that are there, where only end-of-text changed, else from the source."""
    if stages <= {"describe"}:
        return build(f"describe@{name}", alone=True)
    if not stages <= {"bins", "describe"}:
        return build()
    folder = Path("data", name)
    try:
        restored = restore(folder, params["datasets"][name], LOCK)
    except UserError as error:
        if (folder / "bins").is_dir():
            print(f"note: building from the source: {error}", file=sys.stderr, flush=True)
        return build()
    if restored:
        print("tokens:     restored from the bins, nothing fetched", flush=True)
    return all(build(f"{stage}@{name}", alone=True) for stage in ("bins", "describe"))


if __name__ == "__main__":
    run_main(main)
