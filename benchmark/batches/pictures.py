"""Two pictures of a result of `make bench`, drawn to be read at the width of a column.

    python -m benchmark.batches.pictures [benchmark/results/nvidia-h200.json …]

In: results as scripts/benchmark.py writes them; without arguments, all in benchmark/results. Out:
benchmark/pictures/<device>-throughput.svg (each loader's tokens per second by shape, with what the
device could copy) and <device>-steps.svg (a training step, and what each loader adds to it).
Titles are made of the numbers, whoever wins. Loaders that are null or missing are left out. The
same result gives the same bytes, with the same matplotlib. Prints the paths.
"""

import io
import json
import sys
from pathlib import Path
from textwrap import wrap
from types import ModuleType

from matplotlib import style
from matplotlib.figure import Figure

from benchmark.batches import steps_picture, throughput_picture
from slm.core.errors import UserError, run_main
from slm.core.files import write_file
from slm.training.hardware import kebab

HERE = Path(__file__).parents[1]
KINDS = {"batches": ("throughput", throughput_picture), "steps": ("steps", steps_picture)}
WIDTH = 5.0  # inches; at 9 cm the smallest text is still nearly 6 points high
LOOK = {
    "font.family": "DejaVu Sans",  # matplotlib brings it, so every machine draws the same
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "svg.hashsalt": "slm",  # ids in the file are random otherwise
}


def main() -> None:
    """Draw the results that the command line names, or all that there are."""
    paths = [*map(Path, sys.argv[1:])] or sorted((HERE / "results").glob("*.json"))
    for path in paths:
        for drawn in draw(_read(path), HERE / "pictures"):
            print(drawn)


def draw(result: dict, folder: Path) -> list[Path]:
    """Write one SVG file for each section of `result` that holds anything; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    device, paths = kebab(result["device"]), []
    for section, (name, _) in KINDS.items():
        if result.get(section):
            paths.append(folder / f"{device}-{name}.svg")
            write_file(paths[-1], image(result, section))
    return paths


def image(result: dict, section: str, form: str = "svg", dpi: int = 100) -> bytes:
    """The picture of "batches" or "steps" as the bytes of a file; `form` may be "png" too."""
    kind, file = KINDS[section][1], io.BytesIO()
    title = f"{result['device']}: {kind.title(result)}"
    # no date and no version of matplotlib in the file
    about = {"Title": title, "Date": None, "Creator": None} if form == "svg" else None
    with style.context(["default", LOOK], after_reset=True):
        figure = _headed(wrap(title, 54), kind, result)
        figure.savefig(file, format=form, dpi=dpi, metadata=about)
    return file.getvalue()


def _headed(lines: list[str], kind: ModuleType, result: dict) -> Figure:
    above, below = 0.35 + 0.18 * len(lines), kind.height(result)  # inches
    figure = Figure(figsize=(WIDTH, above + below))
    head, body = figure.subfigures(2, 1, height_ratios=[above, below])  # type: ignore[misc]
    head.text(0.02, 0.9, "\n".join(lines), weight="bold", size=10.5, va="top", linespacing=1.15)
    head.text(0.02, 0, kind.SUBTITLE, color="#444444", va="bottom")
    kind.draw(body, result)
    return figure


def _read(path: Path) -> dict:
    try:
        result = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} not found; `make bench` writes benchmark/results") from None
    except ValueError:
        result = None
    if not (isinstance(result, dict) and {"device", "ceiling", "batches"} <= set(result)):
        raise UserError(f"{path} is no result of the benchmark; `make bench` makes one")
    return result


if __name__ == "__main__":
    run_main(main)
