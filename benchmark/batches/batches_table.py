"""The sections "ceiling" and "batches" as lines for people, at most 100 columns wide."""

from collections.abc import Iterator

from slm.core.tables import table_line, wrapped

HEAD = (
    "loader", "µs per batch", "min to max", "p50", "p99", "M tok/s",
    "times", "bus kB", "GPU MB", "host MB", "% copy",
)  # fmt: skip
WIDTHS = (10, 10, 16, 8, 8, 8, 7, 8, 7, 8, 7)
WAYS = (
    "notebook: the notebook's get_batch. dataloader: PyTorch's DataLoader over blocks, shuffled, "
    "with up to 8 workers. host, device: slm.batching with the tokens there",
)
GRAPH = (
    "graph: device placement in a CUDA graph of 200 batches, into the same tensors; its p50 and "
    "p99 are of a graph of one batch",
)
QUICK = (
    "quick: fewer and shorter blocks than is said here, to see that it works; no figures to keep",
)
NOTES = (
    "µs per batch: back to back, median over nine blocks of about 0.1 s (min to max), in three "
    "turns with no other loader alive; p50, p99: µs from a call to its batch being ready",
    "times: the notebook's µs per batch over this loader's. bus: what a batch moves to the GPU. "
    "% copy: of this device's own copy bandwidth, at 18 bytes per token (x and y written as int64, "
    "uint16 read); more than 100 where it stays in a cache",
    "GPU MB: what PyTorch allocated at its peak, batch included; for device and graph the tokens, "
    "too, a copy each. host MB: about what the process and its workers grew by, mapped files and "
    "what the GPU's driver keeps left out; without a GPU, device reads the tokens into it",
)


def batches_table(result: dict, missing: list[str]) -> list[str]:
    """Lines for people: what was measured on, the ceilings, a block for each shape, notes."""
    lines = [*wrapped(_head(result)), ""]
    for shape, loaders in result["batches"].items():
        lines += [table_line((shape, *HEAD[1:]), WIDTHS)]
        lines += [_row(name, figures) for name, figures in loaders.items()]
        lines += [""]
    graph = GRAPH if result["kind"] == "cuda" else ()
    quick = QUICK if result.get("quick") else ()
    return lines + wrapped([*WAYS, *graph, *NOTES, *quick, *missing])


def _head(result: dict) -> Iterator[str]:
    machine, data, ceiling = result["machine"], result["data"], result["ceiling"]
    about = [f"{machine['cores']} cores of {machine['processor']}"]
    about += [f"{name} {machine[name]}" for name in ("python", "torch", "numpy", "triton")]
    yield f"{result['device']}: {', '.join(about)}"
    if result["kind"] == "cpu":
        yield "no GPU here: measured on the CPU, and less of it"
    yield f"data: {data['name']}, {data['tokens']:,} tokens"
    yield f"the device at best: copy {ceiling['copy_gb_s']:,.0f} GB/s, read and written" + (
        f"; from pinned memory {ceiling['bus_gb_s']:,.1f} GB/s; a launch "
        f"{ceiling['launch_us']:.2f} µs, in a CUDA graph {ceiling['graph_launch_us']:.2f} µs"
        if result["kind"] == "cuda"
        else ""
    )
    digest = result["digest"]
    yield (
        f"digest of the first {digest['steps']} batches of {digest['batch_size']} × "
        f"{digest['block_size']}, {digest['order']}, seed {digest['seed']}, the same for every "
        f"placement, on the CPU too: {digest['sha256']}"
    )


def _row(name: str, figures: dict | None) -> str:
    if figures is None:
        return table_line((name, "failed", *["-"] * 9), WIDTHS)
    cells = (
        _short(figures["us"]),
        f"{_short(figures['us_min'])} to {_short(figures['us_max'])}",
        _short(figures["p50_us"]),
        _short(figures["p99_us"]),
        _short(figures["tokens_s"] / 1e6),
        _short(figures["times"]),
        _short(figures["bus_bytes"] / 1e3),
        _short(figures["device_mb"]),
        _short(figures["host_mb"]),
        f"{100 * figures['of_copy']:.1f}",
    )
    return table_line((name, *cells), WIDTHS)


def _short(number: float | None) -> str:
    """Three digits or more; "-" where there is no number."""
    if number is None:
        return "-"
    return f"{number:.{0 if number >= 100 or not number else 1 if number >= 10 else 2}f}"
