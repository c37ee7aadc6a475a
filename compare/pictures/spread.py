"""From rows of lengths or of bytes per token to histograms, and what is not drawn of them.

In: by label, rows as slm.stats.histograms makes them, and the figures of the split. Out: a `Row`
for each label, and the ends of an axis that all share. What is beyond the axis is counted, not
dropped.
"""

from collections.abc import Callable
from itertools import accumulate

from compare.pictures.rows import Row
from compare.pictures.titles import COUNT, TWO

EDGE = 0.005  # of the documents at each side may be beyond the axis of bytes per token
Rows = list[dict]


def lengths_axis(rows: list[Row]) -> tuple[float, float]:
    """From 0 to the highest edge."""
    return 0, max((edge for row in rows for edge in row.edges), default=1)


def bytes_axis(tables: dict[str, Rows]) -> tuple[float, float]:
    """From where to where at most EDGE of the documents of each are outside on either side, and a
    step more."""
    inner = [row for rows in tables.values() for row in _inner(rows)]
    if not inner:
        return 0, 1
    step = _wide(inner[0])
    return min(row["from"] for row in inner) - step, max(row["to"] for row in inner) + step


def about_lengths(rows: list[Row]) -> str:
    """What histograms of tokens per document show."""
    if len(rows) > 1:
        return (
            "Documents by their tokens, each histogram to its own height. Solid line: the median; "
            "dashed: 99\u00a0% have no more; dotted: the longer ones, counted beside."
        )
    longer, longest = (rows[0].cells[name] for name in ("longer", "longest"))
    more = "" if longer == "0" else f"; not drawn: {longer} that are longer, up to {longest}"
    return f"Documents{_steps(rows[0], 'token')}{more}."


def about_bytes(rows: list[Row]) -> str:
    """What histograms of bytes per token show."""
    if len(rows) > 1:
        return (
            "Documents by their bytes per token, each histogram to its own height. Line: all text "
            "together; beyond: documents beyond the axis."
        )
    beyond = rows[0].cells["beyond"]
    more = "" if beyond == "0" else f"; {beyond} are beyond the axis"
    return f"Documents{_steps(rows[0], 'byte')}{more}. Line: all text together."


def _steps(row: Row, unit: str) -> str:
    if not row.edges:
        return ""
    step = f"{row.edges[1] - row.edges[0]:.3g}"
    return f" in steps of {step} {unit}{'' if step == '1' else 's'}"


def of_lengths(label: str, rows: Rows, figures: dict) -> Row:
    """A histogram of tokens per document, without the last row where it is wider than others."""
    spread = figures.get("tokens_per_document") or {}
    drawn = rows[:-1] if len(rows) > 1 and _wide(rows[-1]) != _wide(rows[0]) else rows
    more = rows[len(drawn) :]
    marks = {"median": spread.get("p50"), "99\u00a0%": spread.get("p99")}
    cells = {
        "median": _cell(spread.get("p50"), COUNT),
        "longer": COUNT(sum(row["documents"] for row in more)),
        "longest": _cell(spread.get("longest"), COUNT),
    }
    longest = more[0]["to"] - 1 if more else None
    return Row(label, *_drawn(drawn), _known(marks), cells, longest)


def of_bytes(label: str, rows: Rows, figures: dict, axis: tuple[float, float]) -> Row:
    """A histogram of bytes per token, of what is on the axis."""
    drawn = [row for row in rows if axis[0] < (row["from"] + row["to"]) / 2 < axis[1]]
    beyond = sum(row["documents"] for row in rows) - sum(row["documents"] for row in drawn)
    ratio = figures.get("bytes_per_token")
    cells = {"all text": _cell(ratio, TWO), "beyond": COUNT(beyond)}
    return Row(label, *_drawn(drawn), _known({"all text": ratio}), cells)


def _drawn(rows: Rows) -> tuple[list[float], list[int]]:
    """Edges and documents."""
    edges = [row["from"] for row in rows] + [row["to"] for row in rows[-1:]]
    return edges, [row["documents"] for row in rows]


def _inner(rows: Rows) -> Rows:
    ends = [*accumulate(row["documents"] for row in rows)]
    few, most = (share * sum(row["documents"] for row in rows) for share in (EDGE, 1 - EDGE))
    return [
        row
        for row, end in zip(rows, ends, strict=True)
        if end > few and end - row["documents"] < most
    ]


def _wide(row: dict) -> float:
    return row["to"] - row["from"]


def _known(marks: dict) -> dict[str, float]:
    return {name: value for name, value in marks.items() if value is not None}


def _cell(value: float | None, form: Callable) -> str:
    return "-" if value is None else form(value)
