"""How long does a training step take, and how much of it does the loader add?

A panel for each model and shape, a bar for each loader. The light part of a bar is the step on one
fixed batch, the dark part what the loader adds: by the ratio of blocks that ran in turns, which is
steadier than a difference of medians. Steps in a CUDA graph are held against the fixed batch in a
graph. A loader that adds nothing shows no dark part; its percentage may be below zero.
"""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

SUBTITLE = "milliseconds per training step (a scale of its own for each model)"
FIXED, ADDED = "#b8c6d4", "#b5541c"  # light and dark, so that they differ in grey too
LABELS = {
    "fixed": "one fixed batch",
    "notebook": "notebook",
    "dataloader": "DataLoader",
    "host": "host placement",
    "device": "device placement",
    "graph fixed": "fixed, CUDA graph",
    "graph device": "device, CUDA graph",
}
ROW, AROUND = 0.185, 0.36  # inches: a bar, and what a panel needs beside its bars
GAP = 0.4  # bars of space before those in a CUDA graph
LEFT, WIDE = 0.3, 0.42  # of the picture's width: where bars begin, and how long they get
COLUMNS = {"ms": 0.86, "ratio": 0.98}  # where their figures end


def height(result: dict) -> float:
    """Inches."""
    return 0.3 + sum(map(_height, result["steps"].values()))


def title(result: dict) -> str:
    """What the notebook and our placement add to the step where the notebook adds most.

    No percentages where no interval is above 1: those would be of noise.
    """
    steps = result["steps"]
    name = max(steps, key=lambda name: (steps[name].get("notebook") or {"ratio": 0})["ratio"])
    ours = "device" if steps[name].get("device") else "host"
    loaders = {"the notebook": "notebook", f"{ours} placement": ours}
    figures = {who: steps[name][key] for who, key in loaders.items() if steps[name].get(key)}
    if not figures:
        return "training steps"
    if all(about["low"] <= 1 for about in figures.values()):
        names, add = " and ".join(figures), "add" if len(figures) > 1 else "adds"
        return f"{names} {add} less to a step of {_words(name)} than this run can tell"
    first, *rest = (f"{who} adds {_percent(about['ratio'])}" for who, about in figures.items())
    more = (f", {words.replace(' adds', '')}" for words in rest)
    return f"{first} to a step of {_words(name)}{''.join(more)}"


def draw(body: SubFigure, result: dict) -> None:
    """Fill `body`."""
    inches = height(result)
    top = inches - 0.3
    _legend(body)
    for name, step in result["steps"].items():
        bars = _height(step) - AROUND
        axes = body.add_axes((LEFT, (top - 0.24 - bars) / inches, WIDE, bars / inches))
        _panel(axes, step)
        body.text(0.02, (y := (top - 0.2) / inches), _words(name), weight="bold", va="baseline")
        for column, right in COLUMNS.items():
            body.text(right, y, column, size=8, color="#444444", ha="right", va="baseline")
        top -= _height(step)


def _legend(body: SubFigure) -> None:
    parts = [
        Patch(color=FIXED, label="on one fixed batch"),
        Patch(color=ADDED, label="added by the loader"),
        Line2D([], [], color="black", linewidth=1, label="95 % interval"),
    ]
    body.legend(handles=parts, ncols=3, frameon=False, fontsize=8.5, loc="upper left")


def _panel(axes: Axes, step: dict) -> None:
    places = _places(step)
    for loader, position in places.items():
        _bar(axes, position, step, loader)
    axes.set_xlim(0, max(_fixed(step, loader) * step[loader]["high"] for loader in places))
    axes.set_ylim(max(places.values()) + 0.5, -0.5)
    axes.set_yticks(list(places.values()), [LABELS[loader] for loader in places])
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0)
    axes.spines["bottom"].set_visible(False)


def _bar(axes: Axes, position: float, step: dict, loader: str) -> None:
    fixed, about = _fixed(step, loader), step[loader]
    end = fixed * about["ratio"]
    axes.barh(position, min(fixed, end), 0.7, color=FIXED)
    if loader.endswith("fixed"):
        said = (_ms(fixed, fixed), "1")
    else:
        axes.barh(position, max(0, end - fixed), 0.7, left=fixed, color=ADDED)
        interval = [fixed * about["low"], fixed * about["high"]]
        axes.plot(interval, [position, position], color="black", linewidth=1, clip_on=False)
        said = (_ms(end - fixed, fixed, "+"), f"{about['ratio']:.3f}")
    look: dict[str, Any] = {"ha": "right", "va": "center_baseline", "size": 8}
    for words, right in zip(said, COLUMNS.values(), strict=True):
        at = (right - LEFT) / WIDE
        axes.text(at, position, words, transform=axes.get_yaxis_transform(), **look)


def _height(step: dict) -> float:
    return ROW * (max(_places(step).values()) + 1) + AROUND


def _places(step: dict) -> dict[str, float]:
    """Where the bar of each loader that was measured stands, in bars from the first."""
    figures = [loader for loader in LABELS if step.get(loader)]
    return {loader: at + GAP * loader.startswith("graph") for at, loader in enumerate(figures)}


def _fixed(step: dict, loader: str) -> float:
    return step["graph fixed" if loader.startswith("graph") else "fixed"]["ms"]


def _percent(ratio: float) -> str:
    share = 100 * (ratio - 1)
    return f"{share:.{0 if abs(share) >= 10 else 1}f}\u00a0%".replace("-", "−")


def _ms(value: float, about: float, sign: str = "") -> str:
    """With the decimals that suit a step of `of` milliseconds."""
    decimals = 3 if about < 10 else 2 if about < 100 else 1
    return f"{round(value, decimals) + 0.0:{sign}.{decimals}f}".replace("-", "−")


def _words(name: str) -> str:
    """ "8M 32x128" as words."""
    model, shape = name.split(" ", 1)
    return f"{model} parameters at " + shape.replace("x", "\u00a0×\u00a0")
