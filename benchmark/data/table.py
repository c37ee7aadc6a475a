"""The figures of `make bench-data` as tables for people, at most 100 columns wide."""

from collections.abc import Iterator

from benchmark.data.measure import LIBRARIES, machine_line
from slm.core.tables import table_line, wrapped

NAMES = {
    "download": "download (link, hash, count)",
    "vocabulary": "vocabulary",
    "tokenize": "tokenize",
    "bins": "bins",
    "tokenize + bins": "tokenize + bins",
    "recipe": "the notebook's recipe",
    "pool": "a process pool over tiktoken",
}
TEXTLESS = {"vocabulary"}  # steps that read no text
WHOLE = {  # the stages of `make data`
    "download": "download (fetch, hash, count, link)",
    "audit": "audit",
    "select_documents": "select",
    "make_vocabulary": "vocabulary",
    "tokenize_text": "tokenize",
    "write_bins": "bins",
    "describe": "describe",
}
WIDE_WIDTHS = (40, 12, 12, 12, 12, 12)
WIDE = ("seconds", "MB/s", "M tokens/s", "peak MB", "disk MB")
ENGINE_WIDTHS = (32, 12, 18, 12, 12)
ENGINES = ("stage tokenize, cluster and all", "seconds", "min to max", "ratio", "peak MB")
WIDTHS = (28, 12, 10, 16, 10, 12, 10)
HEAD = ("whole process", "documents", "seconds", "min to max", "MB/s", "M tokens/s", "peak MB")


def report(figures: dict) -> str:
    """The table, and what the numbers mean, from the figures that the last line also holds."""
    rows = [_row(name, figures["steps"][name]) for name in NAMES]
    whole = _make_data(figures["make_data"], figures["steps"])
    head = table_line(HEAD, WIDTHS)
    ways = _engines(figures["engines"])
    return "\n".join([head, *rows, "", *ways, "", *whole, "", *wrapped(_notes(figures)), ""])


def _engines(ways: dict) -> list[str]:
    """The table of the ways to run the stage tokenize, clusters started in the time of each."""
    rows = [ENGINES]
    for name, of in ways.items():
        times = (f"{of['seconds']:.2f}", f"{min(of['runs']):.2f} to {max(of['runs']):.2f}")
        rows.append((name, *times, f"{of['ratio']:.2f}", f"{of['peak_mb']:,}"))
    return [table_line(cells, ENGINE_WIDTHS) for cells in rows]


def _make_data(figures: dict, steps: dict) -> list[str]:
    """The second table: `make data` from the hub's files to bins, with nothing in the cache."""
    cold, warm, nothing, disk = (figures[key] for key in ("cold", "warm", "nothing", "disk"))
    rows = [("`make data` from a stand-in hub, by DVC", *WIDE)]
    for stage, name in WHOLE.items():
        run = cold["stages"][stage]
        rows.append((name, *_rates(run["seconds"], steps), run["peak_mb"], disk[stage]))
    rows.append(("DVC's own share", f"{cold['dvc_seconds']:.2f}", "-", "-", "-", disk["cache"]))
    for name, run in (("all, hub's cache empty", cold), ("all, files in the hub's cache", warm)):
        rows.append((name, *_rates(run["seconds"], steps), run["peak_mb"], "-"))
    done = (f"{nothing['seconds']:.2f}", "-", "-", nothing["peak_mb"], "-")
    return [table_line(cells, WIDE_WIDTHS) for cells in (*rows, ("all, nothing to do", *done))]


def _rates(seconds: float, steps: dict) -> tuple[str, ...]:
    values = steps["tokenize + bins"]
    rates = (values["text_bytes"] / seconds / 1e6, values["tokens"] / seconds / 1e6)
    return (f"{seconds:.2f}", *(f"{rate:,.1f}" for rate in rates))


def _row(name: str, step: dict) -> str:
    runs, seconds = step["runs"], step["seconds"]
    spread = f"{min(runs):.2f} to {max(runs):.2f}" if len(runs) > 1 else "one run"
    rates = (f"{step['text_bytes'] / seconds / 1e6:,.1f}", f"{step['tokens'] / seconds / 1e6:,.2f}")
    counted = ("-",) * 3 if name in TEXTLESS else (f"{step['documents']:,}", *rates)
    times = (f"{seconds:.2f}", spread)
    cells = (NAMES[name], counted[0], *times, *counted[1:], f"{step['peak_mb']:,}")
    return table_line(cells, WIDTHS)


def _notes(figures: dict) -> Iterator[str]:
    steps, documents = figures["steps"], figures["documents"]
    recipe, pool = steps["recipe"], steps["pool"]
    yield _way("recipe", recipe)
    yield _way("pool", pool)
    if recipe["start_seconds"] is None:
        yield "scaled: not at all; recipe and pool ran once each, on all train documents"
    else:
        yield (
            f"scaled: recipe and pool ran on the first {recipe['documents']:,} train documents "
            f"and on the first 1,024, once each; a line through the two tells {documents:,}, so "
            "that start-up and imports count once, as in ours"
        )
    yield f"bytes: recipe and pool wrote the first {recipe['tokens']:,} tokens of our train.bin"
    yield (
        "memory: the whole process tree, sampled every 0.2 s (shared pages count in each process), "
        "or the kernel's peak of one process where that is more"
    )
    yield f"machine: {machine_line(figures['machine'], LIBRARIES)}"
    whole = (
        recipe["seconds_per_million"] * documents / 1e6 / figures["make_data"]["warm"]["seconds"]
    )
    yield (
        "the hub and its client are on this machine; MB/s is of text; disk: what each stage leaves "
        "(raw/ are links into the hub's cache), and DVC's copy of the bins in its cache"
    )
    yield f"make data from the hub's cache: {whole:.1f} × the recipe"
    yield (
        f"tokenize + bins: {recipe['times']} × the recipe a document, "
        f"{pool['times']} × the process pool a document"
    )


def _way(name: str, step: dict) -> str:
    inside = ", ".join(f"{part} {seconds:.1f}" for part, seconds in step["parts"].items())
    start, million = step["start_seconds"], step["seconds_per_million"]
    start = "" if start is None else f"{start:.1f} s for 1,024 documents, "
    return (
        f"{name}: {step['seconds']:.1f} s ({inside}), {start}{million:,.0f} s per million documents"
    )
