"""What do the pictures say? Headlines that are made of the numbers, whichever way they fell.

In: by label, the figures of one split, or what training gave. Out: one sentence with the figures at
both ends and who has them, all that share one as it is written. None is left out.
"""

from collections.abc import Callable, Iterable

SHORT = 20  # letters of a label
COUNT, TWO, BITS = "{:,}".format, "{:,.2f}".format, "{:.4f}".format


def lengths(metrics: dict[str, dict]) -> str:
    """How many tokens documents have, at the median."""
    spread = {label: figures.get("tokens_per_document") or {} for label, figures in metrics.items()}
    return _ends("Tokens per document at the median", _known(spread, "p50"), COUNT, spread)


def ranks(metrics: dict[str, dict]) -> str:
    """How fast the counts of ids fall with their rank."""
    return _ends("Slope of counts of ids by rank", _known(metrics, "rank_slope"), minus, metrics)


def bytes_per_token(metrics: dict[str, dict]) -> str:
    """How much text a token stands for."""
    return _ends("Bytes per token", _known(metrics, "bytes_per_token"), TWO, metrics)


def curves(training: dict[str, dict]) -> str:
    """How well models predict text at the end of their training, by the mean of their seeds."""
    bits = _known({label: figures["bits_per_byte"] for label, figures in training.items()}, "mean")
    return _ends("Validation bits per byte", bits, BITS, training)


def names(labels: Iterable[str]) -> str:
    """Labels in quotation marks, as they have commas."""
    *others, last = (f"“{label}”" for label in labels)
    return f"{', '.join(others)} and {last}" if others else last


def minus(value: float) -> str:
    """Two decimals, with the sign that is as long as a plus."""
    return TWO(round(value, 2) + 0.0).replace("-", "−")


def _known(metrics: dict[str, dict], key: str) -> dict[str, float]:
    return {
        label: figures[key] for label, figures in metrics.items() if figures.get(key) is not None
    }


def _kept(labels: Iterable[str]) -> str:
    """Names of which no short one is cut by the end of a line."""
    return names(label.replace(" ", "\u00a0") if len(label) <= SHORT else label for label in labels)


def _ends(what: str, values: dict[str, float], form: Callable, all_labels: Iterable[str]) -> str:
    if not values:
        return f"{what}: none of {_kept(all_labels)}"
    low, high = form(min(values.values())), form(max(values.values()))
    lowest, highest = ([k for k, v in values.items() if form(v) == end] for end in (low, high))
    if low == high:
        return f"{what}: {low} with {_kept(lowest)}"
    return f"{what}: from {low} with {_kept(lowest)} to {high} with {_kept(highest)}"
