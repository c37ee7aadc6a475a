"""A picture as the bytes of an SVG file: a headline, a line of explanation, and a drawing below.

In: the words, and a function that draws. Out: SVG, 5 inches wide, of the same bytes each
time with the same matplotlib: no date, no version and no random id is in it, and pyplot's global
state is neither read nor changed. Words are drawn as they are: `$` begins no formula.
"""

import io
from collections.abc import Callable
from textwrap import wrap
from typing import Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

WIDTH = 5.0  # inches; at 9 cm the smallest text is still nearly 6 points high
LOOK = {
    "font.family": "DejaVu Sans",  # matplotlib brings it, so every machine draws the same
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "svg.hashsalt": "slm",  # ids in the file are random otherwise
    "text.parse_math": False,
}
GREY, DARK, FILL, ACCENT = "#666666", "#0b2545", "#a9bfd6", "#b5541c"  # told apart in grey, too


def image(
    title: str,
    about: str,
    height: float,  # inches of the drawing
    draw: Callable[[SubFigure], None],
) -> bytes:
    """The picture: `title` is its headline, `about` says what is drawn."""
    file, metadata = io.BytesIO(), {"Title": title, "Date": None, "Creator": None}
    with style.context(["default", LOOK], after_reset=True):
        figure = _headed(balanced(title, 54), balanced(about, 76), height, draw)
        figure.savefig(file, format="svg", metadata=metadata)
    return file.getvalue()


def balanced(text: str, width: int) -> list[str]:
    """As few lines of at most `width` letters as there can be, and about as long as each other."""
    lines = wrap(text, width)
    while width > 1 and len(narrower := wrap(text, width - 1)) == len(lines):
        lines, width = narrower, width - 1
    return lines


def _headed(title: list[str], about: list[str], height: float, draw: Callable) -> Figure:
    words = 0.19 * len(title), 0.16 * len(about)  # inches
    above = 0.16 + sum(words)
    figure = Figure(figsize=(WIDTH, above + height))
    head, body = figure.subfigures(2, 1, height_ratios=[above, height])  # type: ignore[misc]
    bold: dict[str, Any] = {"weight": "bold", "size": 10.5}
    head.text(0.02, 1 - 0.06 / above, "\n".join(title), **bold, va="top", linespacing=1.2)
    about_at = 1 - (0.12 + words[0]) / above
    head.text(0.02, about_at, "\n".join(about), size=8.5, color="#444444", va="top")
    draw(body)
    return figure


def inches(body: SubFigure, height: float, left: float, bottom: float, *size: float) -> Axes:
    """Axes at a place in inches, in a drawing of `height`; `size` is their width and height."""
    wide, high = size
    return body.add_axes((left / WIDTH, bottom / height, wide / WIDTH, high / height))
