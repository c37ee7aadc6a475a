"""`make card`: a dataset card and a Croissant file of the bins, built first if they are not there.

They go into reports/<dataset>/, as README.md and croissant.json; publish them beside the bins.
"""

from pathlib import Path

from scripts._command import alone, asked, parser
from scripts.make_data import built
from slm.bins.manifest import read_manifest
from slm.bins.verifying import damage
from slm.cards.croissant import croissant
from slm.cards.readme import readme
from slm.core.errors import UserError, run_main
from slm.core.files import write_file
from slm.stores.opening import open_bins


def main() -> None:
    """Write the card of the dataset named on the command line, or of the one params.yaml names."""
    args = parser("card", __doc__).parse_args()
    with alone("card"):
        params, name = asked(args.dataset)
        with built(name, params):
            pass
    opened, out = open_bins(Path("data", name, "bins")), Path("reports", name)
    opened.need(None)
    bins = opened.folder
    if wrong := next(damage(bins), ""):
        raise UserError(f"{wrong}; `make verify FIX=1 DATASET={name}`")
    manifest = read_manifest(bins)
    out.mkdir(parents=True, exist_ok=True)
    for path, content in (
        (out / "README.md", readme(manifest)),
        (out / "croissant.json", croissant(bins, manifest)),
    ):
        write_file(path, content)
        print(f"wrote {path}")
    if "license" not in manifest["dataset"]:
        print(f"no license is known; say it as `license:` of {name} in params.yaml")


if __name__ == "__main__":
    run_main(main)
