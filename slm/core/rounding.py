"""How many digits does a figure keep? Six significant ones, in every result that is written.

The last bits of a float differ between processors; rounded, they are in no file that is compared.
"""

from typing import Any


def rounded(value: Any) -> Any:
    """Returns JSON content with every float rounded to six digits; integers stay exact."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def ratio(part: float, total: int) -> float | None:
    """Returns part / total; None, which is null in JSON, if total is 0."""
    return part / total if total else None
