"""How much does each loader add to a training step?

A panel says one thing: what each loader adds to the steps of one model, in percent of the step on
one fixed batch, by the ratio of blocks that ran in turns, which is steadier than a difference of
medians. Steps in a CUDA graph are held against the fixed batch in a graph. A model whose step no
loader makes longer, by its interval, has a line of words and no panel; if that is so for all, each
has its panel, which then shows how exact the run was.
"""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from benchmark.frame import ACCENT, DARK, WIDTH, inches

SUBTITLE = "percent added to a step on one fixed batch; lines: 95\u00a0% intervals"
LABELS = {
    "notebook": "notebook",
    "dataloader": "DataLoader",
    "host": "host placement",
    "device": "device placement",
    "graph device": "device, CUDA graph",
}
ROW, HEAD, GAP, LINE = 0.21, 0.26, 0.14, 0.4  # inches: a bar, above bars, below, a line of words
LEFT, RIGHT = 1.45, 0.8  # inches beside the bars: names, figures


def height(result: dict) -> float:
    """Inches."""
    panels = _panels(result).values()
    high = sum(HEAD + ROW * len(_loaders(step)) + GAP for step in panels)
    return high + LINE * (len(result["steps"]) - len(panels))


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
    """Fill `body`: the panels, then the lines of words."""
    panels, whole = _panels(result), height(result)
    top = whole
    for name, step in panels.items():
        _head(body, (top - 0.14) / whole, name, step)
        bars = ROW * len(_loaders(step))
        bottom = top - HEAD - bars
        _panel(inches(body, whole, LEFT, bottom, WIDTH - LEFT - RIGHT, bars), step)
        top = bottom - GAP
    for name, step in result["steps"].items():
        if name not in panels:
            _head(body, (top - 0.06) / whole, name, step)
            body.text(0.02, (top - 0.21) / whole, _nothing(step), size=8.5, va="baseline")
            top -= LINE


def _panels(result: dict) -> dict[str, dict]:
    """The steps that a loader makes longer, or all that have one."""
    steps = {name: step for name, step in result["steps"].items() if _loaders(step)}
    longer = (name for name, step in steps.items() if any(a["low"] > 1 for a in _loaders(step)))
    return {name: steps[name] for name in longer} or steps


def _head(body: SubFigure, y: float, name: str, step: dict) -> None:
    body.text(0.02, y, _words(name), weight="bold", va="baseline")
    times = f"{_ms(step['fixed']['ms'])} per step"
    body.text(0.98, y, times, size=8.5, color="#444444", ha="right", va="baseline")


def _panel(axes: Axes, step: dict) -> None:
    for position, about in enumerate(_loaders(step)):
        low, ratio, high = (100 * (about[key] - 1) for key in ("low", "ratio", "high"))
        axes.barh(position, ratio, 0.66, color=ACCENT)
        axes.plot([low, high], [position, position], color="black", linewidth=1.2)
        look: dict[str, Any] = {"ha": "right", "va": "center_baseline", "size": 8.5}
        place = 1 + (RIGHT - 0.1) / (WIDTH - LEFT - RIGHT)
        words = _percent(about["ratio"], "+")
        axes.text(place, position, words, transform=axes.get_yaxis_transform(), **look)
    names = [words for name, words in LABELS.items() if step.get(name)]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.axvline(0, color=DARK, linewidth=1)
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0)
    axes.spines[["left", "bottom"]].set_visible(False)


def _nothing(step: dict) -> str:
    """What all loaders of a step add, which is nothing that the run can tell."""
    ratios = [about["ratio"] for about in _loaders(step)]
    if not ratios:
        return "no loader was measured"
    ends = dict.fromkeys(_percent(end(ratios), "+") for end in (min, max))
    return f"no loader makes it longer ({' to '.join(ends)})"


def _loaders(step: dict) -> list[dict]:
    """What was measured, in the order of LABELS."""
    return [step[name] for name in LABELS if step.get(name)]


def _percent(ratio: float, sign: str = "") -> str:
    share = 100 * (ratio - 1)
    decimals = 0 if abs(share) >= 10 else 1
    return f"{round(share, decimals) + 0.0:{sign}.{decimals}f}\u00a0%".replace("-", "−")


def _ms(value: float) -> str:
    return f"{value:.{2 if value < 100 else 1}f}\u00a0ms"


def _words(name: str) -> str:
    """ "8M 32x128" as words."""
    model, shape = name.split(" ", 1)
    return f"{model} parameters at " + shape.replace("x", "\u00a0×\u00a0")
