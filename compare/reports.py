"""What is known of each variant, and where is it written?

In: variants that were built, their bins, and what training gave. Out: what was found of each, and
reports/<dataset>/compare with compare.md, compare.html and the pictures, each file whole. The same
metrics give the same text; pictures are the same with the same matplotlib.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from compare.columns import splits
from compare.experiments import content
from compare.page import page
from compare.pictures import draw as pictures
from compare.result import Result
from compare.story import choose
from compare.summary import markdown
from compare.variants import Variant
from slm.bins.documents import document
from slm.bins.opening import Bins
from slm.core.errors import UserError
from slm.core.files import write_file

WHOLE = {"data", "runs", "bits_per_byte", "parameters", "steps", "tokens", "bytes"}  # of a variant
CANDIDATES = 50  # documents that the story is chosen from


def collected(
    dataset: str, built: dict[str, tuple[Variant, str]], bins: dict[str, Bins], trained: dict
) -> list[Result]:
    """What is known of each variant, given by the name of its experiment with its commit."""
    by_data = {variant["data"]: variant for variant in trained.get("variants", [])}
    return [
        Result(
            label=variant.label,
            name=name,
            commit=commit,
            encoding=bins[name].encoding,
            end_of_text=variant.end_of_text,
            metrics=json.loads(content(commit, f"metrics/{dataset}/tokens.json")),
            training=by_data.get(bins[name].manifest["sha256"]),
            lossy=sum(bins[name].manifest.get("lossy_documents", {}).values()),
        )
        for name, (variant, commit) in built.items()
    ]


def known_training(folder: Path, bins: dict[str, Bins]) -> dict:
    """The result in a folder of trainings that has most of these bins, with most seeds; or {}."""
    hashes = {opened.manifest["sha256"] for opened in bins.values()}

    def runs(result: dict) -> tuple[int, int]:
        numbers = [len(v["runs"]) for v in result["variants"] if v["data"] in hashes]
        return len(numbers), sum(numbers)

    results = [_result(path) for path in sorted(folder.glob("*.json"))]
    best: dict = max(results, key=runs, default={"variants": []})
    return best if runs(best)[0] else {}


def _result(path: Path) -> dict:
    try:
        result = json.loads(path.read_bytes())
        if {"device", "settings"} <= {*result} and all({*of} >= WHOLE for of in result["variants"]):
            return result
    except (ValueError, LookupError, TypeError):
        pass
    raise UserError(f"{path} is no result of a training; remove it, or bring the whole file")


def write_reports(
    dataset: str, results: list[Result], bins: dict[str, Bins], trained: dict
) -> list[Path]:
    """Write all of reports/<dataset>/compare; return the paths."""
    out, device = Path("reports", dataset, "compare"), _trained_on(trained)
    drawn = dict(_pictures(dataset, results, device))
    story = _story(bins[results[0].name])
    files = {f"{name}.svg": picture for name, picture in drawn.items()}
    files["compare.md"] = markdown(dataset, results, drawn, device).encode()
    files["compare.html"] = page(dataset, results, story, drawn, device)
    out.mkdir(parents=True, exist_ok=True)
    for name, file in files.items():
        write_file(out / name, file)
    for stale in out.glob("*.svg"):
        if stale.name not in files:
            stale.unlink()
    return [out / name for name in files]


def _trained_on(trained: dict) -> str | None:
    """The device and how it was trained there."""
    if not trained:
        return None
    settings = trained["settings"]
    shape = f"{settings['batch_size']} × {settings['block_size']} tokens per step"
    return f"{trained['device']} ({shape}, learning rate {settings['learning_rate']})"


def _pictures(
    dataset: str, results: list[Result], device: str | None
) -> Iterator[tuple[str, bytes]]:
    split = splits(results)[0]
    figures = {result.label: result.metrics[split] for result in results}
    for name, draw in pictures.TABLES.items():
        files = {
            result.label: content(result.commit, f"metrics/{dataset}/{name}.csv")
            for result in results
        }
        tables = {label: pictures.read_table(file, split) for label, file in files.items()}
        yield name, draw(tables, figures)
    training = {result.label: result.training for result in results if result.training}
    if training:
        yield "curves", pictures.curves(training, device)


def _story(bins: Bins) -> str:
    """A validation document of these bins, or one of their last split."""
    manifest = bins.manifest
    split = "validation" if "validation" in manifest["splits"] else [*manifest["splits"]][-1]
    cut = {"append": slice(-1), "prepend": slice(1, None)}.get(manifest["end_of_text"], slice(None))
    numbers = range(min(CANDIDATES, manifest["splits"][split]["documents"]))
    return choose([bins.decode(document(bins, split, n).ids[cut]) for n in numbers])
