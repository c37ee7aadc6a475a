"""`make push REMOTE=name`: send the bins that dvc.lock names to a DVC remote.

No remote is taken for granted: the default one is in this repository, for the sample alone.
"""

from scripts._command import alone, asked, parser
from slm.core.errors import UserError, run_main
from slm.versions.remote import push


def main() -> None:
    """Push the dataset named on the command line, or the one that params.yaml names."""
    command = parser("push", __doc__)
    command.add_argument("--remote", help="a remote of .dvc/config, or hf://datasets/owner/name")
    command.add_argument("--to", help="with this export of them, to the hub")
    args = command.parse_args()
    if not args.remote:
        raise UserError("to which remote? `make push REMOTE=name`; `dvc remote list` names them")
    with alone("push"):
        _, name = asked(args.dataset)
        sent = push(name, args.remote, args.to)
    print(f"pushed data/{name}/bins to {args.remote}: {sent} files that it did not have")


if __name__ == "__main__":
    run_main(main)
