"""`make diff A=rev B=rev`: say what differs between the bins of two revisions.

A revision is a tag, a commit, a branch or a DVC experiment of this repository. Without A it is
HEAD, and without B what is in the workspace, as with `git diff`.
"""

from pathlib import Path

from scripts._command import DEFAULT_REMOTE, asked, parser
from slm.bins.diff import differences
from slm.core.errors import run_main
from slm.stores.opening import open_bins
from slm.versions.revisions import open_revision


def main() -> None:
    """Open both versions of the chosen dataset's bins and print what differs."""
    command = parser("diff", __doc__)
    command.add_argument("--a", default="HEAD", help="a revision")
    command.add_argument("--b", help="a revision; without it, the workspace")
    command.add_argument("--remote", help=DEFAULT_REMOTE)
    args = command.parse_args()
    _, name = asked(args.dataset)
    path = Path("data", name, "bins")
    a = open_revision(path, args.a, remote=args.remote)
    b = open_revision(path, args.b, remote=args.remote) if args.b else open_bins(path)
    print(f"A {args.a}: {a.version}\nB {args.b or 'workspace'}: {b.version}")
    differs = False
    for line in differences(a, b):
        differs = True
        print(line)
    if not differs:
        print("A and B are the same bytes")


if __name__ == "__main__":
    run_main(main)
