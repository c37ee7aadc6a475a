"""How do bits per byte fall while models are trained? Over the text they saw, and over time.

In: what training gave by label: runs of several seeds, each with its curve. Out: two axes in a
drawing, side by side, with one vertical scale; that of seconds is logarithmic, since one model may
take many times as long as another. The thick line of a label is the mean of its seeds,
point by point; thin ones are the seeds. The legend is in the order in which lines end, each label
with the mean of its final bits per byte.
"""

from itertools import cycle
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from benchmark.frame import WIDTH
from compare.pictures.titles import BITS

LOOKS = [  # colour, dashes, marker: six that differ in grey
    ("#0b2545", "-", "o"),
    ("#b5541c", "--", "s"),
    ("#2b6ca8", "-.", "^"),
    ("#c98a2b", "-", "D"),
    ("#5b9bd0", "--", "v"),
    ("#7a7a7a", ":", "X"),
]
HIGH, LEFT, FOOT, LEGEND = 2.1, 0.5, 0.5, 1.6  # inches
WRAP = 15  # letters in one line of the legend
STEEP = 0.2  # of the points of a curve may be above the axis
AXES = (("text seen, MB", 0, 1e6), ("seconds (log scale)", 1, 1))  # name, place, unit


def height(training: dict[str, dict]) -> float:
    """Inches."""
    legend = (0.06 + 0.14 * (len(wrap(label, WRAP)) + 1) for label in training)
    return 0.1 + max(HIGH, sum(legend)) + FOOT


def about(training: dict[str, dict], device: str | None) -> str:
    """What is drawn."""
    seeds = sorted({len(figures["runs"]) for figures in training.values()})
    spread = f"mean of {' or '.join(map(str, seeds))} seeds, thin: each seed"
    many = "one seed" if seeds == [1] else spread
    top = _span(training)[1]
    cut = any(
        (curve[:, 2] > top).any() for figures in training.values() for curve in _runs(figures)
    )
    more = " The steep beginning is cut off." if cut else ""
    where = f" on {device}" if device else ""
    return f"While training{where}: {many}. Numbers: at its end.{more}"


def draw(body: SubFigure, training: dict[str, dict]) -> None:
    """Fill `body`."""
    foot, right = FOOT / height(training), 1 - LEGEND / WIDTH
    body.subplots_adjust(left=LEFT / WIDTH, right=right, bottom=foot, top=0.97, wspace=0.12)
    looks = dict(zip(training, cycle(LOOKS), strict=False))
    both = body.subplots(1, 2, sharey=True)
    for axes, (name, of_point, unit) in zip(both, AXES, strict=True):
        for label, figures in training.items():
            seeds = [curve[:, [of_point, 2]] / [unit, 1] for curve in _runs(figures)]
            _curve(axes, seeds, looks[label])
        _dress(axes, name)
    both[0].set_ylim(*_span(training))
    both[0].set_xlim(left=0)
    _by_seconds(both[1], training)
    ends = {label: figures["bits_per_byte"]["mean"] for label, figures in training.items()}
    order = sorted(ends, key=lambda label: -ends[label])
    lines = [Line2D([], [], **_style(looks[label])) for label in order]
    words = ["\n".join([*wrap(label, WRAP), BITS(ends[label])]) for label in order]
    place = {"loc": "center left", "bbox_to_anchor": (right, 0.5 + foot / 2)}
    body.legend(lines, words, frameon=False, fontsize=8.5, handlelength=2.4, **place)


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


def _dress(axes: Axes, name: str) -> None:
    axes.set_xlabel(name)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.tick_params(which="both", length=0)


def _by_seconds(axes: Axes, training: dict[str, dict]) -> None:
    """A logarithmic axis, from the first moment that is drawn."""
    curves = [curve for figures in training.values() for curve in _runs(figures)]
    seconds = np.concatenate([curve[_late(curve) :, 1] for curve in curves] or [np.ones(1)])
    if (seconds > 0).any():
        first, last = seconds[seconds > 0].min(), seconds.max()
        axes.set_xscale("log")
        axes.set_xlim(first / 1.15, last * 1.15)
        subs = (1, 2, 5) if last / first < 100 else (1,)
        axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=9))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
        axes.xaxis.set_minor_formatter(NullFormatter())


def _late(curve: np.ndarray) -> int:
    """The first point after the steep part of a curve."""
    return int(STEEP * len(curve))


def _span(training: dict[str, dict]) -> tuple[float, float]:
    """The ends of the vertical axis, which leaves out the steep first part of each curve."""
    bits = [
        figures["bits_per_byte"][end] for figures in training.values() for end in ("low", "high")
    ]
    for curve in (curve for figures in training.values() for curve in _runs(figures)):
        bits += curve[_late(curve) :, 2].tolist()
    low, high = min(bits), max(bits)
    return low - 0.06 * (high - low or 1), high + 0.04 * (high - low or 1)
