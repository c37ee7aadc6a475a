"""How often do ids occur, from the most frequent to the rarest? A panel for each tokenization.

In: rows of `ranks` and the fitted slope by label. Out: axes in a drawing, both scales logarithmic
and the same in every panel. The own line of a panel is dark, those of the others stand behind it
in light grey; the dashed one has the slope, and goes through the mean of the points, as a line of
least squares does.
"""

from math import ceil
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import LogLocator, NullFormatter

from benchmark.frame import ACCENT, DARK, WIDTH
from compare.pictures.titles import minus

ALONE, HIGH = 2.3, 1.15  # inches: one panel alone, one of several
LEFT, FOOT, BESIDE, ABOVE, LINE = 0.55, 0.5, 0.16, 0.1, 0.14  # inches around them
WORDS = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))


def height(tables: dict[str, list[dict]]) -> float:
    """Inches."""
    high = ALONE if len(tables) == 1 else HIGH
    return FOOT + ceil(len(tables) / _columns(tables)) * (_above(tables) + high)


def about(tables: dict[str, list[dict]]) -> str:
    """What is drawn."""
    words = "How often each id occurs, the most frequent first (log scales). Dashed: a"
    more = " Grey: the others." if len(tables) > 1 else ""
    return f"{words} line of the slope (−1 by Zipf's law).{more}"


def draw(body: SubFigure, tables: dict[str, list[dict]], slopes: dict[str, float | None]) -> None:
    """Fill `body`."""
    whole, columns, above = height(tables), _columns(tables), _above(tables)
    high = ALONE if len(tables) == 1 else HIGH
    sides = {"left": LEFT / WIDTH, "right": 1 - BESIDE / WIDTH}
    ends = {"bottom": FOOT / whole, "top": 1 - above / whole}
    grid = body.add_gridspec(
        -(-len(tables) // columns), columns, hspace=above / high, **sides, **ends
    )
    for place, label in enumerate(tables):
        axes = body.add_subplot(grid[place])
        panel(axes, tables, label, slopes[label])
        _dress(axes, place % columns == 0, place + columns >= len(tables))
        if len(tables) > 1:
            axes.set_title("\n".join(_name(label, columns)), size=8.5, loc="left", pad=3)


def _columns(tables: dict) -> int:
    return len(tables) if len(tables) < 4 else 2 if len(tables) == 4 else 3


def _name(label: str, columns: int) -> list[str]:
    """The lines above a panel."""
    return wrap(label, 66 // columns)


def _above(tables: dict) -> float:
    """Inches above each panel."""
    lines = max(len(_name(label, _columns(tables))) for label in tables)
    return ABOVE if len(tables) == 1 else ABOVE + LINE * lines


def panel(axes: Axes, tables: dict[str, list[dict]], label: str, slope: float | None) -> None:
    """Fill `axes` with the line of a label, before those of all, and its fitted line."""
    pairs = {k: [(row["rank"], row["count"]) for row in rows] for k, rows in tables.items()}
    points = {k: np.array(rows, np.float64).reshape(-1, 2).T for k, rows in pairs.items()}
    axes.loglog()
    for other in points.values():
        axes.plot(*other, color="#c4c4c4", linewidth=1)
    own = points[label]
    axes.plot(*own, color=DARK, linewidth=1.6, marker="o" if own.shape[1] < 2 else "")
    if not own.size:
        axes.text(0.5, 0.5, "no tokens", transform=axes.transAxes, ha="center", va="center")
    elif slope is not None:
        logs = np.log(own)
        fitted = np.exp(logs[1].mean() + slope * (logs[0] - logs[0].mean()))
        axes.plot(own[0], fitted, color=ACCENT, linewidth=1.2, linestyle="--")
        look: dict[str, Any] = {"color": ACCENT, "size": 8.5, "ha": "right", "va": "top"}
        axes.text(0.98, 0.97, f"slope {minus(slope)}", transform=axes.transAxes, **look)
    every = np.concatenate([*points.values()], axis=1)
    axes.set_xlim(0.8, 1.5 * every[0].max(initial=1))
    most = every[1].max(initial=1)
    axes.set_ylim(0.7 * every[1].min(initial=most / 7), 2 * most)  # with a power of ten in it


def _dress(axes: Axes, left: bool, bottom: bool) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(numticks=5))
        axis.set_major_formatter(lambda value, _: _short(value))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.tick_params(which="both", length=0, labelleft=left, labelbottom=bottom)
    axes.set_xlabel("rank" if bottom else "", labelpad=1)


def _short(value: float) -> str:
    size, word = next(figures for figures in WORDS if value >= figures[0] or figures[0] == 1)
    return f"{value / size:g}{word}"
