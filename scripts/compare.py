"""`make compare`: build the variants that params.yaml lists, and say what differs.

First the chosen dataset is built as `make data` builds it. Each variant then becomes a DVC
experiment (see compare.experiments); one that is there already is taken as it is. Out: a table,
and reports/<dataset>/compare with compare.md, compare.html and the pictures. With --train the same
small model is trained on each (see slm.training.runs). One such command runs at a time.
"""

import os
from pathlib import Path
from shutil import get_terminal_size
from textwrap import fill

from compare.experiments import kept, make, opened
from compare.reports import collected, known_training, write_reports
from compare.result import Result
from compare.summary import costs
from compare.table import terminal
from compare.training_table import left_out
from compare.variants import Variant, deciding, name_of, variants
from scripts._command import PARAMS, alone, answering, asked, parser
from scripts.make_data import built, check
from slm.bins.opening import Bins
from slm.core.errors import UserError, run_main
from slm.core.params import with_values
from slm.tokens.wanted import wanted


def main() -> None:
    """Compare the variants of the dataset named on the command line, or in params.yaml."""
    command = parser("compare", __doc__, answers=True)
    command.add_argument("--train", action="store_true", help="train a small model on each variant")
    args = command.parse_args()
    with answering(args.json) as answer, alone("compare"):
        params, name = asked(args.dataset)
        check(params, name)
        listed = variants(params)
        for variant in listed:
            with_values(PARAMS.read_text(encoding="utf-8"), variant.values)
        settings = _settings(params["datasets"][name]) if args.train else None
        with built(name, params):
            experiments = _built(name, listed, params)
            failed = _failed(listed, experiments)
            if not experiments:
                raise UserError(failed)
        commits = {experiment: commit for experiment, (_, commit) in experiments.items()}
        with opened(name, commits) as bins:
            folder = Path("reports", name, "training")
            trained = _trained(bins, settings, folder) if settings else known_training(folder, bins)
            results = collected(name, experiments, bins, trained)
            print(terminal(results))
            for line in costs(results):
                print(f"{fill(line, get_terminal_size((100, 24)).columns)}\n")
            if line := left_out(trained):
                print(f"{line}\n")
            reports = write_reports(name, results, bins, trained)
            for path in reports:
                print(f"wrote {path}")
            variants_ = [_about(result, bins[result.name]) for result in results]
            answer |= {"dataset": name, "variants": variants_, "reports": [*map(str, reports)]}
        example = results[-1].name
        print(f"a variant's bins: `open_revision('data/{name}/bins', '{example}')` in Python,")
        print(f"or in this workspace: `dvc exp apply {example}`, then `make data`")
        if failed:
            raise UserError(failed)


def _about(result: Result, bins: Bins) -> dict:
    """What the answer says of a variant."""
    training = result.training and result.training["bits_per_byte"]["mean"]
    return {
        "label": result.label,
        "experiment": result.name,
        "commit": result.commit,
        "version": bins.version,
        "figures": result.metrics,
        "bits_per_byte": training,
    }


def _built(name: str, listed: list[Variant], params: dict) -> dict[str, tuple[Variant, str]]:
    """The variants and their commits by the names of their experiments, built where not kept.

    Those that failed are left out.
    """
    decided = deciding(params, name)
    wanted = {name_of(variant, name, decided): variant for variant in listed}
    have = kept(name, list(wanted))
    if len(wanted) < len(listed):
        _say(f"{len(listed)} variants are {len(wanted)}: some say what params.yaml says anyway")
    missing = {label: variant for label, variant in wanted.items() if label not in have}
    if missing:
        make(name, _grouped(missing, params), _say)
        have = kept(name, list(wanted))
    return {label: (wanted[label], have[label]) for label in wanted if label in have}


def _failed(listed: list[Variant], experiments: dict[str, tuple[Variant, str]]) -> str:
    """What the last line says of variants that failed; empty where none did."""
    built = [variant for variant, _ in experiments.values()]
    labels = [variant.label for variant in listed if variant not in built]
    if not labels:
        return ""
    return (
        f"left out, as a stage failed: {'; '.join(labels)}; correct what its line above names, and "
        "run the same command again"
    )


def _grouped(missing: dict[str, Variant], params: dict) -> dict[str, Variant]:
    """Those of one vocabulary one after another, that of params.yaml first: it is built here."""
    own = wanted(params)
    order = list(dict.fromkeys([own, *(variant.tokenizer for variant in missing.values())]))
    return dict(sorted(missing.items(), key=lambda item: order.index(item[1].tokenizer)))


def _settings(entry: dict) -> dict:
    """`training` of params.yaml; raises UserError where it or the dataset cannot be trained on."""
    from slm.training.settings import read_settings

    splits = entry.get("splits") or entry.get("documents") or entry.get("files") or {}
    if not {"train", "validation"} <= {*splits}:
        raise UserError(
            f"TRAIN=1 takes splits train and validation, and this dataset has {', '.join(splits)}"
        )
    return read_settings(PARAMS)["training"]


def _trained(bins: dict[str, Bins], settings: dict, out: Path) -> dict:
    from slm.training.hardware import this_device  # PyTorch takes seconds to start
    from slm.training.runs import WORKSPACE, train

    os.environ.setdefault(*WORKSPACE)
    folders = [variant.folder for variant in bins.values()]
    return train(folders, settings, this_device(), out, say=_say)


def _say(line: str) -> None:
    print(f"-- {line}", flush=True)


if __name__ == "__main__":
    run_main(main)
