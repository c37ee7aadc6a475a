"""`make export TO=format`: give the bins the names, headers and indices that another trainer reads.

Files are hard links where bytes are the same. VERIFY=1 reads the export back. docs/export.md says
what each reader gets, and how it is started.
"""

from pathlib import Path

from scripts._command import alone, asked, parser
from slm.core.errors import UserError, check, positive, run_main
from slm.export.exporting import FORMATS, export, verify
from slm.export.parts import LINKED, Options
from slm.stores.opening import open_bins


def main() -> None:
    """Export the dataset named on the command line, or the one that params.yaml names."""
    command = parser("export", __doc__.split("\n")[0])
    command.add_argument("--to", default="", help=", ".join(FORMATS))
    command.add_argument("--out", type=Path, help="another folder than data/<dataset>/export/<to>")
    command.add_argument("--reader", help="of llmc: modded")
    command.add_argument("--shard-tokens", type=positive, help="of llmc and litdata")
    command.add_argument("--token-bytes", action="store_true", help="of llmc: for bits per byte")
    command.add_argument("--verify", action="store_true", help="read the export back")
    args = command.parse_args()
    check(args.to in FORMATS, f"TO is {args.to!r}, expected one of {', '.join(FORMATS)}")
    options = Options(args.reader, args.shard_tokens, args.token_bytes)
    for name, value, of in (("READER", args.reader, ("llmc",)),
                            ("SHARD_TOKENS", args.shard_tokens, ("llmc", "litdata")),
                            ("BYTES", args.token_bytes, ("llmc",))):  # fmt: skip
        if value and args.to not in of:
            raise UserError(f"{name} is of {' and '.join(of)}, and has no meaning for {args.to}")
    with alone("export"):
        _, dataset = asked(args.dataset)
        bins = open_bins(Path("data", dataset, "bins"))
        out = _folder(args.out, dataset) or Path("data", dataset, "export", args.to)
        files, new = export(bins, args.to, out, options)
        if args.verify:
            verify(bins, args.to, out, options)
    linked = sum(made.how == LINKED for made in files)
    print(f"{'exported to' if new else 'nothing to do:'} {out}: {len(files)} files, {linked} of "
          f"them linked{'; read back, and the same' if args.verify else ''}")  # fmt: skip
    print(f"  {bins.version}")


def _folder(out: Path | None, dataset: str) -> Path | None:
    """OUT as it is meant; raises UserError if it is among the files of the dataset."""
    if out is None:
        return None
    resolved, data = out.resolve(), Path("data", dataset).resolve()
    inside = resolved == data or (
        resolved.is_relative_to(data) and not resolved.is_relative_to(data / "export")
    )
    around = Path.cwd().is_relative_to(resolved)
    check(not inside and not around, f"OUT={out} is no place for an export; choose a new folder")
    return resolved


if __name__ == "__main__":
    run_main(main)
