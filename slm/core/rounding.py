"""How many digits does a figure keep? Six significant ones, wherever a result is written.

In: what will be JSON. Out: the same, with every float rounded; whole numbers stay exact. So the
last bits, which differ between processors, are in no file that is compared. A share of nothing is
no number: it is None, and null in JSON.
"""


def rounded(value: object) -> object:
    """The same with every float rounded to six significant digits."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def ratio(part: float, whole: int) -> float | None:
    """part / whole; None where whole is 0."""
    return part / whole if whole else None
