"""Pictures of one tokenization, or of several side by side, for the width of a column.

In: by label, the rows of tables that stage `describe` writes (slm.stats.histograms) and the figures
of the same split, or None; or what training gave. Out: the bytes of an SVG file. The
headline is made of the numbers; labels keep their order. A split without documents is drawn, too.
The same input gives the same bytes, with the same matplotlib.
"""

import csv
from functools import partial
from pathlib import Path

from benchmark.frame import image
from compare.pictures import curves as curves_picture
from compare.pictures import ranks as ranks_picture
from compare.pictures import rows as rows_picture
from compare.pictures import spread, titles
from compare.pictures.rows import Row
from slm.core.files import read_json, write_file

Tables = dict[str, list[dict]]  # rows by label
Metrics = dict[str, dict | None]  # figures of a split by label


def read_table(content: bytes, split: str) -> list[dict]:
    """The rows of one split in a table: numbers as int, or as float where they have a point."""
    rows = csv.DictReader(content.decode().splitlines())
    return [
        {key: float(text) if "." in text else int(text) for key, text in row.items()}
        for row in rows
        if row.pop("split") == split
    ]


def describe_pictures(metrics: Path, out: Path) -> list[Path]:
    """Draw "train", or else the first split, of the tables and the tokens.json in `metrics`.

    Writes lengths.svg, ranks.svg and bytes.svg into `out` and returns their paths. The label is the
    name of the folder `metrics`. Raises UserError where tokens.json is missing or corrupt.
    """
    tokens, label = read_json(metrics / "tokens.json"), metrics.name
    splits = [name for name, figures in tokens.items() if isinstance(figures, dict)]
    split = "train" if "train" in splits else splits[0]
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, picture in TABLES.items():
        table = read_table((metrics / f"{name}.csv").read_bytes(), split)
        paths.append(out / f"{name}.svg")
        write_file(paths[-1], picture({label: table}, {label: tokens[split]}))
    return paths


def lengths(tables: Tables, metrics: Metrics) -> bytes:
    """How many tokens documents have, from rows of lengths."""
    figures = _figures(metrics)
    rows = [spread.of_lengths(label, tables[label], own) for label, own in figures.items()]
    words = titles.lengths(figures), spread.about_lengths(rows)
    return _histograms(words, rows, spread.lengths_axis(rows), "tokens per document")


def bytes_per_token(tables: Tables, metrics: Metrics) -> bytes:
    """How many bytes of text a token of each document stands for, from rows of bytes."""
    figures = _figures(metrics)
    axis = spread.bytes_axis(tables)
    rows = [spread.of_bytes(label, tables[label], own, axis) for label, own in figures.items()]
    words = titles.bytes_per_token(figures), spread.about_bytes(rows)
    return _histograms(words, rows, axis, "bytes per token")


def _histograms(
    words: tuple[str, str], rows: list[Row], span: tuple[float, float], unit: str
) -> bytes:
    draw = partial(rows_picture.draw, rows=rows, span=span, unit=unit)
    return image(*words, rows_picture.height(rows), draw)


def ranks(tables: Tables, metrics: Metrics) -> bytes:
    """How often ids occur, the most frequent first, from rows of ranks."""
    figures = _figures(metrics)
    slopes = {label: values.get("rank_slope") for label, values in figures.items()}
    draw = partial(ranks_picture.draw, tables=tables, slopes=slopes)
    words = titles.ranks(figures), ranks_picture.about(tables)
    return image(*words, ranks_picture.height(tables), draw)


def curves(training: dict[str, dict], device: str | None) -> bytes:
    """How bits per byte fell while models were trained, given what training gave by label."""
    words = titles.curves(training), curves_picture.about(training, device)
    draw = partial(curves_picture.draw, training=training)
    return image(*words, curves_picture.height(training), draw)


TABLES = {"lengths": lengths, "ranks": ranks, "bytes": bytes_per_token}  # by the name of the table


def _figures(metrics: Metrics) -> dict[str, dict]:
    return {label: values or {} for label, values in metrics.items()}
