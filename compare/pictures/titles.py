"""What do the pictures say? Headlines that are made of the numbers, whichever way they fell.

In: the figures of one split, or what training gave, by label. Out: one sentence. Of one label it
describes; of several it names those at both ends, all that share one as it is written. A figure
that is None is left out.
"""

from collections.abc import Callable

COUNT, TWO, BITS = "{:,}".format, "{:,.2f}".format, "{:.4f}".format


def lengths(metrics: dict[str, dict]) -> str:
    """How many tokens documents have, at the median."""
    spread = {label: figures.get("tokens_per_document") or {} for label, figures in metrics.items()}
    median = _known(spread, "p50")
    if not median:
        return f"Tokens per document of {names(metrics)}"
    if len(metrics) == 1:
        (figures,) = spread.values()
        more = "" if figures.get("p99") is None else f", 99\u00a0% at most {figures['p99']:,}"
        return (
            f"{names(metrics)}: half of the documents have at most {figures['p50']:,} tokens{more}"
        )
    (few, least), (many, most) = _ends(median, COUNT)
    if few == many:
        return f"With {few} a document has {least} tokens at the median"
    return (
        f"Documents are shortest with {few} ({least}\u00a0tokens at the median) "
        f"and longest with {many} ({most})"
    )


def ranks(metrics: dict[str, dict]) -> str:
    """How fast the counts of ids fall with their rank."""
    slopes = _known(metrics, "rank_slope")
    if not slopes:
        return f"Counts of ids by rank of {names(metrics)}"
    if len(metrics) == 1:
        (slope,) = slopes.values()
        return f"{names(metrics)}: the counts of ids fall as their rank to the power {minus(slope)}"
    (steep, least), (flat, most) = _ends(slopes, minus)
    if steep == flat:
        return f"With {steep} the counts of ids have a slope of {least} over their rank"
    return (
        f"The counts of ids fall fastest with {steep} (slope\u00a0{least}) "
        f"and slowest with {flat} ({most})"
    )


def bytes_per_token(metrics: dict[str, dict]) -> str:
    """How much text a token stands for."""
    packed = _known(metrics, "bytes_per_token")
    if not packed:
        return f"Bytes a token of {names(metrics)}"
    (loose, least), (dense, most) = _ends(packed, TWO)
    if len(metrics) == 1:
        return f"{names(metrics)}: a token stands for {most} bytes of text"
    if loose == dense:
        return f"With {loose} a token stands for {most} bytes of text"
    return (
        f"A token stands for the most text with {dense} ({most}\u00a0bytes) "
        f"and the least with {loose} ({least})"
    )


def curves(training: dict[str, dict], device: str | None) -> str:
    """Which vocabulary a model predicts text best with; no winner where ranges of seeds overlap."""
    text = _predicted({label: figures["bits_per_byte"] for label, figures in training.items()})
    return f"{device}: {text}" if device else f"{text[0].upper()}{text[1:]}"


def _predicted(bits: dict[str, dict]) -> str:
    best, worst = (end(bits, key=lambda label: bits[label]["mean"]) for end in (min, max))
    near = [label for label, figures in bits.items() if figures["low"] <= bits[best]["high"]]
    values = sorted(bits[label]["mean"] for label in near)
    text = " to ".join(dict.fromkeys((BITS(values[0]), BITS(values[-1]))))
    if len(bits) == 1:
        return f"with {names(bits)} text takes {text} bits per byte"
    if len(near) == len(bits):
        return f"these runs do not tell {names(bits)} apart ({text}\u00a0bits per byte)"
    return (
        f"text takes the fewest bits per byte with {names(near)} ({text}) "
        f"and the most with {names([worst])} ({BITS(bits[worst]['mean'])})"
    )


def names(labels: dict | list[str]) -> str:
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


def _ends(values: dict[str, float], form: Callable) -> tuple[tuple[str, str], tuple[str, str]]:
    """The names and the value of the lowest and of the highest, as they are written."""
    low, high = form(min(values.values())), form(max(values.values()))
    lowest, highest = ([k for k, v in values.items() if form(v) == end] for end in (low, high))
    return (names(lowest), low), (names(highest), high)
