"""How are documents spread? A histogram for each tokenization, one below the other.

In: histograms, what is marked in them, and figures that stand beside them. Out: axes in a drawing.
All share one horizontal axis; each has a height of its own, since with a vocabulary of bytes alone
all documents may have the same value. One histogram alone is large and has a scale of counts.
"""

from textwrap import wrap
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.ticker import MaxNLocator

from benchmark.frame import ACCENT, DARK, FILL, GREY, WIDTH, inches

ROW, GAP, ALONE = 0.4, 0.12, 1.7  # inches: a histogram among several, between them, one alone
HEAD, FOOT = 0.24, 0.5  # above and below all of them
LEFT, COLUMN = 1.2, 0.55  # beside several: labels, and each column of figures
LINE = 0.14  # of a label


class Row(NamedTuple):
    """One tokenization's histogram."""

    label: str
    edges: list[float]  # (n + 1,) ascending; empty where there is no document
    documents: list[int]  # (n,) between them
    marks: dict[str, float]  # values by name
    cells: dict[str, str]  # figures by heading
    longest: float | None = None  # where there are documents beyond the last edge


def height(rows: list[Row]) -> float:
    """Inches."""
    return HEAD + FOOT + len(rows) * (_high(rows) + GAP) - GAP


def draw(body: SubFigure, rows: list[Row], span: tuple[float, float], unit: str) -> None:
    """Fill `body`: `span` are the ends of the horizontal axis, and `unit` is its name."""
    alone, whole = len(rows) == 1, height(rows)
    left, right = (0.75, 0.75) if alone else (LEFT, 0.1 + COLUMN * len(rows[0].cells))
    high = _high(rows)
    for place, row in enumerate(rows):
        bottom = whole - HEAD - high - place * (high + GAP)
        axes = inches(body, whole, left, bottom, WIDTH - left - right, high)
        _axis(axes, span, last=place == len(rows) - 1)
        _histogram(axes, row)
        if alone:
            _alone(axes, row)
        else:
            y, label = (bottom + high / 2) / whole, "\n".join(_lines(row))
            body.text(0.02, y, label, size=8.5, va="center", linespacing=1.05)
            _texts(body, y, list(row.cells.values()), va="center")
    axes.set_xlabel(unit)
    if not alone:
        _texts(body, (whole - HEAD + 0.05) / whole, list(rows[0].cells), va="bottom", color=GREY)


def _high(rows: list[Row]) -> float:
    """Inches of each histogram."""
    return ALONE if len(rows) == 1 else max(ROW, *(LINE * len(_lines(row)) for row in rows))


def _lines(row: Row) -> list[str]:
    return wrap(row.label, 15)


def _axis(axes: Axes, span: tuple[float, float], last: bool) -> None:
    axes.set_xlim(*span)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.6)
    axes.tick_params(axis="both", length=0, labelbottom=last)


def _histogram(axes: Axes, row: Row) -> None:
    if not row.documents:
        axes.text(0.5, 0.5, "no documents", transform=axes.transAxes, ha="center", va="center")
        return
    axes.stairs(row.documents, row.edges, fill=True, color=FILL)
    axes.stairs(row.documents, row.edges, color=DARK, linewidth=0.8)
    axes.set_ylim(0, 1.05 * max(1, *row.documents))
    for style, value in zip(("-", (0, (3, 1.5))), row.marks.values(), strict=False):
        axes.axvline(value, color=ACCENT, linewidth=1.6, linestyle=style)
    if row.longest is not None:
        end = min(row.longest, axes.get_xlim()[1])
        line: dict[str, Any] = {"color": GREY, "linewidth": 1, "linestyle": ":"}
        axes.plot([row.edges[-1], end], [0.08] * 2, transform=axes.get_xaxis_transform(), **line)


def _alone(axes: Axes, row: Row) -> None:
    """The names of the marks above them, on outer sides, and a scale of counts."""
    for (name, value), side in zip(row.marks.items(), ("right", "left"), strict=False):
        name = f"\u00a0{name}: {round(value, 2):,.6g}\u00a0"
        look: dict[str, Any] = {"color": ACCENT, "size": 8.5, "ha": side, "va": "bottom"}
        axes.text(value, 1.02, name, transform=axes.get_xaxis_transform(), **look)
    axes.tick_params(axis="x", pad=7)  # below the 0 of the other scale
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)


def _texts(body: SubFigure, y: float, texts: list[str], **look: Any) -> None:
    """One text in each column, at its right end."""
    for column, text in enumerate(reversed(texts)):
        body.text(1 - 0.02 - column * COLUMN / WIDTH, y, text, size=8.5, ha="right", **look)
