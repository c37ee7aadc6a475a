"""How many tokens per second does each loader give, for each shape, and what could the device copy?

A line a loader over the shapes, from few tokens per batch to many, on a log scale. Two lines across
are the ceilings: all that is read and written at the bandwidth of a copy, and what host placement
sends at that of the bus. The legend is in the order in which all these lines end. Line styles and
markers differ, not colours alone.
"""

from math import prod
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

SUBTITLE = "tokens per second (log scale); batches from the smallest to the largest"
COPY_BYTES = 18  # a token: int64 x and y written, uint16 read
BUS_BYTES = 2  # a token: uint16
LOOKS = {  # label, colour, marker: the darker, the closer to the device
    "notebook": ("notebook", "#b5541c", "s"),
    "dataloader": ("DataLoader", "#c98a2b", "D"),
    "host": ("host\nplacement", "#5b9bd0", "^"),
    "device": ("device\nplacement", "#2b6ca8", "o"),
    "graph": ("device, in a\nCUDA graph", "#0b2545", "v"),
}


def height(_: dict) -> float:
    """Inches."""
    return 3.1


def title(result: dict) -> str:
    """Our single call and its graph against the notebook, at the middle one of the shapes."""
    shapes = _shapes(result)
    shape = shapes[len(shapes) // 2]
    at, notebook = f"at {_words(shape)}", _rate(result, shape, "notebook")
    name = "device" if _rate(result, shape, "device") else "host"
    rate, graph = _rate(result, shape, name), _rate(result, shape, "graph")
    if not rate:
        return f"tokens per second {at}"
    if not notebook:
        return f"{name} placement gives {_tokens(rate, '.3g')} tokens per second {at}"
    more = f", in a CUDA graph {_times(graph / notebook)} times" if graph else ""
    return f"{at} {name} placement {_compared(rate / notebook)}{more}"


def draw(body: SubFigure, result: dict) -> None:
    """Fill `body`."""
    axes, shapes = body.subplots(), _shapes(result)
    body.subplots_adjust(left=0.16, right=0.675, bottom=0.18, top=0.98)
    for name in LOOKS:
        _line(axes, result, shapes, name)
    _ceilings(axes, result)
    lines = sorted(axes.get_lines(), key=lambda line: -np.asarray(line.get_ydata())[-1])
    axes.set_yscale("log")
    axes.set_xlim(-0.3, len(shapes) - 0.8)
    axes.set_xticks(range(len(shapes)), [_words(shape, "\n× ") for shape in shapes], size=8)
    axes.set_xlabel("rows × tokens of a batch")
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    axes.tick_params(axis="both", which="both", length=0)
    axes.yaxis.set_major_formatter(lambda value, _: _tokens(value, "g"))
    look: dict[str, Any] = {
        "fontsize": 8.5,
        "labelcolor": "linecolor",
        "labelspacing": 0.7,
        "handlelength": 1.8,
    }
    axes.legend(handles=lines, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), **look)


def _shapes(result: dict) -> list[str]:
    """From few tokens per batch to many."""
    return sorted(result["batches"], key=lambda shape: (prod(map(int, shape.split("x"))), shape))


def _words(shape: str, by: str = "\u00a0×\u00a0") -> str:
    return shape.replace("x", by)


def _rate(result: dict, shape: str, name: str) -> float | None:
    return (result["batches"][shape].get(name) or {}).get("tokens_s")


def _tokens(value: float, form: str) -> str:
    size, word = next((s for s in _WORDS if value >= s[0]), (1, ""))
    return f"{value / size:{form}} {word}".strip()


_WORDS = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"), (1e3, "thousand"))


def _compared(times: float) -> str:
    if times < 0.95:
        return f"is slower than the notebook, {_times(times)} times its rate"
    if times < 1.05:
        return "is as fast as the notebook"
    return f"is {_times(times)} times as fast as the notebook"


def _times(times: float) -> str:
    if times < 0.95:
        return f"{times:.2g}"
    return f"{times:.1f}".removesuffix(".0") if times < 10 else f"{times:,.0f}"


def _line(axes: Axes, result: dict, shapes: list[str], name: str) -> None:
    """Draw one loader where it was measured."""
    label, colour, marker = LOOKS[name]
    rates = [_rate(result, shape, name) for shape in shapes]
    points = [(position, rate) for position, rate in enumerate(rates) if rate]
    if points:
        look: dict[str, Any] = {"marker": marker, "markersize": 5, "linewidth": 1.5}
        axes.plot(*zip(*points, strict=True), color=colour, label=label, **look)


def _ceilings(axes: Axes, result: dict) -> None:
    copy, bus = result["ceiling"]["copy_gb_s"], result["ceiling"].get("bus_gb_s")
    _ceiling(axes, "copy", copy, COPY_BYTES, "--")
    if bus:
        _ceiling(axes, "bus", bus, BUS_BYTES, ":")


def _ceiling(axes: Axes, name: str, gb_s: float, bytes_per_token: int, dashes: str) -> None:
    shown = f"{gb_s:,.0f}" if gb_s >= 100 else f"{gb_s:.3g}"
    words = f"{name} {shown} GB/s,\n{bytes_per_token} bytes per token"
    look: dict[str, Any] = {"color": "black", "linewidth": 1, "linestyle": dashes, "zorder": 1}
    axes.axhline(gb_s * 1e9 / bytes_per_token, label=words, **look)
