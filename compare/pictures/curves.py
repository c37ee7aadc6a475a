"""How do bits per byte fall while models are trained? Over the text they saw, and over time.

In: what training gave by label: runs of several seeds, each with its curve. Out: two axes in a
drawing, side by side, with one vertical scale. The thick line of a label is the mean of its seeds,
point by point; thin ones are the seeds. Labels stand beside, in the order in which lines end, each
with the mean of its final bits per byte.
"""

from itertools import cycle
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import MaxNLocator

from compare.pictures.frame import WIDTH, inches
from compare.pictures.titles import BITS

LOOKS = [  # colour, dashes, marker: six that differ in grey
    ("#0b2545", "-", "o"),
    ("#b5541c", "--", "s"),
    ("#2b6ca8", "-.", "^"),
    ("#c98a2b", "-", "D"),
    ("#5b9bd0", "--", "v"),
    ("#7a7a7a", ":", "X"),
]
HIGH, LEFT, FOOT, BETWEEN, GUTTER = 2.1, 0.5, 0.5, 0.18, 1.5  # inches
KEY, WRAP = 0.3, 16  # inches of a line beside its label, and letters in one line of that
STEEP = 0.2  # of the points of a curve may be above the axis
AXES = (("text seen, MB", 0, 1e6), ("training, seconds", 1, 1))  # name, place in a point, unit


def height(training: dict[str, dict]) -> float:
    """Inches."""
    return 0.1 + max(HIGH, sum(map(_high, training))) + FOOT


def about(training: dict[str, dict]) -> str:
    """What is drawn."""
    seeds = sorted({len(figures["runs"]) for figures in training.values()})
    spread = f"mean of {' or '.join(map(str, seeds))} seeds, thin: each seed"
    many = "one seed" if seeds == [1] else spread
    top = _span(training)[1]
    cut = any(
        (curve[:, 2] > top).any() for figures in training.values() for curve in _runs(figures)
    )
    more = " The steep beginning is cut off." if cut else ""
    return f"Validation bits per byte while training, {many}. Numbers: at its end.{more}"


def draw(body: SubFigure, training: dict[str, dict]) -> None:
    """Fill `body`."""
    whole, wide = height(training), (WIDTH - LEFT - BETWEEN - GUTTER) / 2
    high = whole - FOOT - 0.1
    looks = dict(zip(training, cycle(LOOKS), strict=False))
    for place, (name, of_point, unit) in enumerate(AXES):
        axes = inches(body, whole, LEFT + place * (wide + BETWEEN), FOOT, wide, high)
        for label, figures in training.items():
            _curve(
                axes,
                [curve[:, [of_point, 2]] / [unit, 1] for curve in _runs(figures)],
                looks[label],
            )
        _dress(axes, name, left=place == 0)
        axes.set_ylim(*_span(training))
    _labels(inches(body, whole, WIDTH - GUTTER, FOOT, GUTTER, high), training, looks, high)


def _runs(figures: dict) -> list[np.ndarray]:
    """(points, 3) float64 of each seed, as many points of each: bytes, seconds, bits per byte."""
    curves = [
        np.array(run.get("curve") or [], np.float64).reshape(-1, 3) for run in figures["runs"]
    ]
    points = min(map(len, curves), default=0)
    return [curve[:points] for curve in curves]


def _curve(axes: Axes, seeds: list[np.ndarray], look: tuple[str, str, str]) -> None:
    for seed in seeds if len(seeds) > 1 else ():
        axes.plot(*seed.T, color=look[0], linewidth=0.5, alpha=0.6)
    if seeds:
        axes.plot(*np.mean(seeds, axis=0).T, **_style(look))


def _style(look: tuple[str, str, str]) -> dict:
    colour, dashes, marker = look
    return {"color": colour, "linestyle": dashes, "marker": marker, "markersize": 3.5}


def _dress(axes: Axes, name: str, left: bool) -> None:
    axes.set_xlabel(name)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.tick_params(length=0, labelleft=left)


def _span(training: dict[str, dict]) -> tuple[float, float]:
    """The ends of the vertical axis, which leaves out the steep first part of each curve."""
    bits = [
        figures["bits_per_byte"][end] for figures in training.values() for end in ("low", "high")
    ]
    for curve in (curve for figures in training.values() for curve in _runs(figures)):
        bits += curve[int(STEEP * len(curve)) :, 2].tolist()
    low, high = min(bits), max(bits)
    return low - 0.06 * (high - low or 1), high + 0.04 * (high - low or 1)


def _labels(axes: Axes, training: dict[str, dict], looks: dict, high: float) -> None:
    """Each label at the height of its line's end, or as near as there is room."""
    axes.axis("off")
    axes.set(xlim=(0, GUTTER), ylim=(0, high))
    low, top = _span(training)
    ends = {label: figures["bits_per_byte"]["mean"] for label, figures in training.items()}
    order = sorted(ends, key=lambda label: ends[label])
    wanted = [(ends[label] - low) / (top - low) * high for label in order]
    for label, y in zip(order, _apart(wanted, [*map(_high, order)], high), strict=True):
        axes.plot([0.1, 0.1 + KEY / 2, 0.1 + KEY], [y] * 3, markevery=[1], **_style(looks[label]))
        words = "\n".join([*wrap(label, WRAP), BITS(ends[label])])
        axes.text(0.17 + KEY, y, words, size=8.5, va="center", linespacing=1.05)


def _high(label: str) -> float:
    """Inches that a label takes."""
    return 0.06 + 0.14 * (len(wrap(label, WRAP)) + 1)


def _apart(places: list[float], sizes: list[float], room: float) -> list[float]:
    """The rising middles of things of these sizes, moved no more than needed to be apart."""
    known, floor = [], 0.0
    for place, size in zip(places, sizes, strict=True):
        known.append(max(place, floor + size / 2))
        floor = known[-1] + size / 2
    ceiling = room
    for i in reversed(range(len(known))):
        known[i] = min(known[i], ceiling - sizes[i] / 2)
        ceiling = known[i] - sizes[i] / 2
    return known
