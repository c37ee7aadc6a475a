"""Two pictures of a result of `make bench`, drawn to be read at the width of a column.

    python -m benchmark.batches.pictures [benchmark/results/nvidia-h200.json …]

In: results as scripts/benchmark.py writes them; without arguments, all in benchmark/results. Out:
benchmark/pictures/<device>-throughput.svg (each loader's tokens per second by shape, with what the
device could copy) and <device>-steps.svg (a training step, and what each loader adds to it).
Titles are made of the numbers, whoever wins. Loaders that are null or missing are left out. The
same result gives the same bytes, with the same matplotlib. Prints the paths.
"""

import json
import sys
from functools import partial
from pathlib import Path

from benchmark.batches import steps_picture, throughput_picture
from benchmark.frame import image
from slm.core.errors import UserError, run_main
from slm.core.files import write_file
from slm.training.hardware import kebab

HERE = Path(__file__).parents[1]
KINDS = {"batches": ("throughput", throughput_picture), "steps": ("steps", steps_picture)}


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
            write_file(paths[-1], picture(result, section))
    return paths


def picture(result: dict, section: str) -> bytes:
    """The picture of "batches" or "steps" as the bytes of an SVG file."""
    kind = KINDS[section][1]
    title = f"{result['device']}: {kind.title(result)}"
    draw = partial(kind.draw, result=result)
    return image(title, kind.SUBTITLE, kind.height(result), draw)


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
