"""The training steps as a table for people, at most 100 columns wide.

In: the benchmark's section "steps". Out: lines; for each model a head, a row for each loader with
the time of a step and what it adds to the step on a fixed batch, and below all how to read them.
"""

from slm.core.tables import table_line, wrapped

WIDTHS = (58, 12, 30)

ROWS = {
    "fixed": "one fixed batch, no loader",
    "notebook": "the notebook's get_batch",
    "dataloader": "DataLoader with workers",
    "host": "ours, tokens on the host",
    "device": "ours, tokens on the device",
    "graph fixed": "in a CUDA graph: one fixed batch",
    "graph device": "in a CUDA graph: ours, on the device",
}
BASES = ("fixed", "graph fixed")
NOTES = (
    "a step: batch, forward, backward, AdamW; ms is the median over blocks of steps, which the "
    "loaders take in turn, round by round",
    "against the fixed batch: the median over rounds of block against the fixed batch's block of "
    "the same round, and in brackets the 95 % interval of that median; in a CUDA graph, which "
    "holds the whole step, against the fixed batch in a graph",
)


def steps_table(steps: dict) -> list[str]:
    """The lines; none where nothing was measured."""
    lines: list[str] = []
    for name, run in steps.items():
        model, shape = name.split()
        how = f", {run['compiled']}" if run["compiled"] else ""
        head = f"{model} model, {shape.replace('x', ' × ')} tokens ({run['dtype']}{how})"
        lines += [table_line((head, "ms per step", "against the fixed batch"), WIDTHS)]
        lines += [_row(key, run[key]) for key in ROWS if run.get(key)]
        failed = run.get("failed", {}).items()
        lines += [*wrapped(f"  {ROWS[key]}: not here: {why}" for key, why in failed), ""]
    return [*lines, *wrapped(NOTES if steps else ())]


def _row(key: str, figures: dict) -> str:
    ratio, low, high = (100 * (figures[key] - 1) for key in ("ratio", "low", "high"))
    added = "-" if key in BASES else f"{ratio:+.1f} % ({low:.1f} to {high:.1f})"
    return table_line((f"  {ROWS[key]}", f"{figures['ms']:,.3f}", added), WIDTHS)
