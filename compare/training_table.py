"""What training gave, as a table for people.

In: the result of slm.training.runs. Out: lines of at most 100 columns: a head, a row for each
variant, how to read them. Below, however long: what was left out, and where a CUDA graph failed.
"""

from statistics import mean

from slm.core.tables import table_line, wrapped

WIDTHS = (34, 9, 14, 9, 24, 10)
HEAD = ("variant", "ids", "parameters", "steps", "bits per byte", "seconds")


def training_table(result: dict) -> list[str]:
    """The lines."""
    settings = result["settings"]
    shape = f"{settings['batch_size']} × {settings['block_size']} tokens per step"
    note = (
        f"{result['device']}, {shape}; parameters in embeddings + others, in millions; bits per "
        "byte of the validation split, mean and range over seeds; seconds of training, mean"
    )
    failures = (
        f"{_name(variant)}: without a CUDA graph, which failed: {variant['graph_failed']}"
        for variant in result["variants"]
        if "graph_failed" in variant
    )
    more = [*filter(None, [left_out(result)]), *failures]
    head = table_line(HEAD, WIDTHS)
    return [head, *map(_row, result["variants"]), *wrapped([note]), *more]


def left_out(result: dict) -> str:
    """What was not trained, in one line; empty where nothing was left out."""
    kinds = result.get("left_out", {})
    parts = [f"{kind} {', '.join(map(str, names))}" for kind, names in kinds.items() if names]
    return f"left out, as there is no GPU here: {'; '.join(parts)}" if parts else ""


def _name(variant: dict) -> str:
    return f"{variant['encoding']} {variant['end_of_text']}".removesuffix(" none")


def _row(variant: dict) -> str:
    millions = [f"{count / 1e6:.1f}" for count in variant["parameters"].values()]
    bits = variant["bits_per_byte"]
    spread = f"({bits['low']:.4f}–{bits['high']:.4f})" if len(variant["runs"]) > 1 else ""
    cells = (
        _name(variant),
        f"{variant['vocab_size']:,}",
        " + ".join(millions),
        f"{variant['steps']:,}",
        f"{bits['mean']:.4f} {spread}".strip(),
        f"{mean(run['seconds'] for run in variant['runs']):,.1f}",
    )
    return table_line(cells, WIDTHS)
