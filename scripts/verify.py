"""`make verify`: check every byte of the bins against their manifest and the committed dvc.lock.

Corrupt objects in DVC's cache and corrupt tokens/ are removed. `FIX=1` repairs the bins as well.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from scripts._command import DEFAULT_REMOTE, about, alone, answering, asked, parser
from slm.bins.manifest import file_names, read_manifest, url_in
from slm.core.errors import UserError, run_main
from slm.stores.opening import open_bins
from slm.stores.sending import damage_at, send_again
from slm.versions.lock import folder_hash
from slm.versions.repair import repair
from slm.versions.verify import Versions, damaged, remove_corrupt, versions


def main() -> None:
    """Verify the dataset named on the command line, or the one that params.yaml names."""
    command = parser("verify", __doc__.split("\n")[0], answers=True)
    command.add_argument("--fix", action="store_true", help="repair what is wrong")
    command.add_argument("--remote", help=f"to repair from; {DEFAULT_REMOTE}")
    args = command.parse_args()
    if args.remote and not args.fix:
        raise UserError("a remote is asked only to repair: `make verify FIX=1 REMOTE=name`")
    with answering(args.json) as answer, alone("verify"):
        _, name = asked(args.dataset)
        known, folder = versions(name), Path("data", name, "bins")
        removed, wrong = _said(remove_corrupt(name, known)), _said(damaged(folder, known))
        if args.fix:
            _said(repair(name, args.remote, known, wrong))
            wrong |= _said(_repaired_there(folder))
        elif there := not wrong and [line for _, line in _damage_there(folder)]:
            _said(there)
            raise UserError(
                f"{url_in(folder)} is not what was sent; `make verify FIX=1` sends it "
                "again from the local store"
            )
        elif removed or wrong:
            state = "is not what was built" if wrong else "is intact, what was beside it was not"
            cure = f"`make verify DATASET={name} FIX=1` repairs it"
            if wrong and known == (None, None):
                cure = f"no dvc.lock names any of {name}; `make data DATASET={name}` builds them"
            raise UserError(f"{folder} {state}; {cure}")
        print(f"{folder}: every byte is as manifest.json and dvc.lock say")
        print(note := _note(folder, known), end="")
        repaired = args.fix and (removed or wrong)
        answer |= about(open_bins(folder)) | {"repaired": repaired, "committed": not note}


def _damage_there(folder: Path) -> Iterator[tuple[str, str]]:
    """What is wrong with bins that lie in object storage: names, and a line about each."""
    if url := url_in(folder):
        bins = open_bins(folder)
        yield from damage_at(url, bins.manifest, bins.folder)


def _repaired_there(folder: Path) -> Iterator[str]:
    if wrong := [name for name, _ in _damage_there(folder)]:
        send_again(str(url_in(folder)), read_manifest(folder), wrong)
        yield f"sent again: {len(wrong)} of its files"


def _said(lines: Iterable[str]) -> bool:
    """Print lines as they come; whether there were any."""
    some = False
    for line in lines:
        some = True
        print(line, file=sys.stderr, flush=True)
    return some


def _note(folder: Path, known: Versions) -> str:
    if known.committed == known.here:
        return ""
    if folder_hash(folder, file_names(folder)) == known.here:
        return "note: dvc.lock is not committed; commit it to keep this version\n"
    return "note: dvc.lock here names another version than the last commit, which these bins are\n"


if __name__ == "__main__":
    run_main(main)
