"""`make datasets`: the entries of params.yaml, what each is, and whether it is built.

A size is known where source/pins.json has it, or where the files are the user's own.
"""

from pathlib import Path

from scripts._command import PARAMS, answering, parser
from slm.core.errors import UserError, run_main
from slm.core.params import chosen, dataset_of, read_params
from slm.core.tables import aligned
from slm.stores.opening import open_bins
from slm.text.by_url.taking import is_by_url, listed
from slm.text.finding import find_files
from slm.text.hub.pins import read_pins
from slm.text.hub.room import gb
from slm.tokens.published import LICENSES

HEAD = ("name", "from", "size", "license", "tokens, where built")


def main() -> None:
    """Print a line for each entry, or for the one that the command line names."""
    args = parser("datasets", __doc__.split("\n")[0], answers=True).parse_args()
    with answering(args.json) as answer:
        params = read_params(PARAMS)
        names = [chosen(params, [args.dataset])] if args.dataset else [*params["datasets"]]
        entries = [_entry(params, name) for name in names]
        answer |= {"chosen": params["dataset"], "datasets": entries}
        print(*aligned([HEAD, *map(_row, entries)], "<<<<<"), sep="\n")
        for name, license_ in LICENSES.items():
            print(f"tokenizer.encoding {name}: its ranks are under the {license_}")
        print(f"`make data DATASET=name` builds one; `make data` means {params['dataset']}")


def _entry(params: dict, name: str) -> dict:
    """What is known of an entry; where it cannot be built, `from` says why."""
    try:
        entry = dataset_of(params, name)
        origin = _origin(entry)
    except UserError as error:
        return {"name": name, "from": str(error)}
    folder = Path("data", name)
    found: dict = {"name": name, "from": origin, "bytes": None, "documents": None}
    found |= _size(entry, folder)
    return found | {"license": entry.get("license"), "tokens": _built(folder)}


def _row(entry: dict) -> tuple[str, ...]:
    if "tokens" not in entry:
        return entry["name"], entry["from"], "", "", ""
    built = ", ".join(f"{name} {tokens:,}" for name, tokens in (entry["tokens"] or {}).items())
    size = f"{entry['documents']:,} documents" if entry["documents"] else "-"
    if entry["bytes"] is not None:
        size = gb(entry["bytes"])
    return entry["name"], entry["from"], size, entry["license"] or "-", built or "-"


def _origin(entry: dict) -> str:
    if is_by_url(entry):
        return ", ".join(url for of in entry["files"].values() for url in listed(of))
    return f"hub: {entry['path']}" if entry["kind"] == "hub" else entry["kind"]


def _size(entry: dict, folder: Path) -> dict[str, int]:
    """The bytes of the source, or how many documents are generated."""
    try:
        if entry["kind"] == "generated":
            return {"documents": sum(entry["documents"].values())}
        if entry["kind"] == "files":
            source = folder / "source"
            names = [
                name for globs in entry["files"].values() for name in find_files(source, globs)
            ]
            return {"bytes": sum((source / name).stat().st_size for name in names)}
        pins = read_pins(entry, folder / "source" / "pins.json")
        return {"bytes": sum(f["bytes"] for of in pins.files.values() for f in of)} if pins else {}
    except (UserError, OSError):
        return {}


def _built(folder: Path) -> dict[str, int] | None:
    """The tokens of each split, where there are bins."""
    try:
        splits = open_bins(folder / "bins").manifest["splits"]
    except UserError:
        return None
    return {name: split["tokens"] for name, split in splits.items()}


if __name__ == "__main__":
    run_main(main)
