"""The result of benchmark.orders.features as lines for people, at most 100 columns wide."""

from collections.abc import Iterator

from benchmark.batches.loaders import GRAPHED
from benchmark.orders.ways import PROVEN, WEIGHTS
from slm.core.tables import table_line, wrapped

HEAD = ("µs per batch", "min to max", "times")
GRAPH = ("in a graph", "min to max")
WIDTHS = (30, 14, 18, 8, 12, 18)
NOTES = (
    "µs per batch: back to back, fresh tensors each, median (min to max) over rounds in which all "
    "have a turn; times: the median over rounds of a block against that of shuffled, x and y "
    "alone, in the same round",
    f"a mixture is of four sources, by weights {WEIGHTS}; with documents it tells sources, too",
    f"the first {PROVEN} batches of each, documents and sources among them, are those of the CPU",
)
IN_GRAPH = (
    f"in a graph: a CUDA graph of {GRAPHED} batches into the same tensors; the last batch of each "
    "is that of the CPU",
)


def features_table(result: dict) -> list[str]:
    """What was measured on, a table for each shape, the plans of "packed", notes."""
    machine, data, on_gpu = result["machine"], result["data"], result["kind"] == "cuda"
    versions = ", ".join(f"{name} {machine[name]}" for name in ("python", "torch", "numpy"))
    lines = [
        f"{result['device']}: {machine['cores']} cores, {versions}, triton {machine['triton']}",
        f"{data['documents']:,} documents, {data['tokens']:,} tokens; "
        f"placement {'device' if on_gpu else 'host'}",
        "",
    ]
    for shape, ways in result["shapes"].items():
        lines += [*_block(shape.replace("x", " × "), ways, on_gpu), ""]
    lines += [*_plans(result["plans"]), ""]
    return lines + wrapped([*NOTES, *(IN_GRAPH if on_gpu else ())])


def _block(shape: str, ways: dict[str, dict], on_gpu: bool) -> Iterator[str]:
    columns = len(HEAD) + 1 + len(GRAPH) * on_gpu
    yield table_line((shape, *HEAD, *GRAPH)[:columns], WIDTHS[:columns])
    for name, of in ways.items():
        cells = (name, *_times(of), f"{of['ratio']:.2f}")
        more = _times(of["graph"]) if on_gpu else ()
        yield table_line((*cells, *more), WIDTHS[:columns])


def _times(of: dict) -> tuple[str, str]:
    return _short(of["us"]), f"{_short(of['us_min'])} to {_short(of['us_max'])}"


def _short(us: float) -> str:
    return f"{us:.{1 if us >= 10 else 2}f}"


def _plans(plans: dict) -> Iterator[str]:
    widths = (30, 14, 18, 12, 12)
    yield table_line(("the plan of packed, per row", "seconds", "bytes/document", "rows",
                      "padding"), widths)  # fmt: skip
    for size, of in plans.items():
        cells = f"{of['seconds']:.3f}", f"{of['bytes_per_document']:.2f}", f"{of['rows']:,}"
        yield table_line((f"{size} tokens", *cells, f"{100 * of['padding']:.2f} %"), widths)
