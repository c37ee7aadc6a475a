"""Which figures differ between tokenizations of one dataset, and which are the same?

In: what was found of each variant, in order. Out: a table of the train split, one of each other
split, and one of what training gave. A figure is a column where it differs between variants as it
is written here; one that is the same for all is kept apart, to be said once. Of one variant all
figures are columns. Cells are text, so that every form of a table holds the same ones.
"""

from collections.abc import Callable
from functools import reduce
from typing import NamedTuple

from compare.result import Result

COUNT, ONE, TWO, BITS = "{:,}".format, "{:,.1f}".format, "{:,.2f}".format, "{:.4f}".format


def _share(part: float) -> str:
    return f"{100 * part:.1f} %"


def _mega(number: int) -> str:
    return TWO(number / 1e6)


def span(bits: dict) -> str:
    """Lowest and highest bits per byte of the seeds."""
    return f"{BITS(bits['low'])}–{BITS(bits['high'])}"


VARIANT = (("vocabulary, ids", "metrics.vocab_size", COUNT), ("end of text", "end_of_text", str))
SPLIT = (  # heading, where it stands in the metrics of a split, how it is written
    ("documents", "documents", COUNT),
    ("empty documents", "empty_documents", COUNT),
    ("text, bytes", "text_bytes", COUNT),
    ("tokens", "tokens", COUNT),
    ("bin size, MB", "bin_bytes", _mega),
    ("bytes per token", "bytes_per_token", TWO),
    ("tokens per word", "tokens_per_word", TWO),
    ("tokens per document, mean", "tokens_per_document.mean", ONE),
    ("tokens per document, p50", "tokens_per_document.p50", COUNT),
    ("tokens per document, p90", "tokens_per_document.p90", COUNT),
    ("tokens per document, p99", "tokens_per_document.p99", COUNT),
    ("tokens per document, longest", "tokens_per_document.longest", COUNT),
    ("vocabulary used", "vocabulary_share", _share),
    ("ids seen < 100 times", "rare_ids", COUNT),
    ("entropy, bits per token", "entropy_bits_per_token", TWO),
    ("entropy, bits per byte", "entropy_bits_per_byte", TWO),
    ("windows across borders", "windows_across_borders", _share),
    ("slope of rank and frequency", "rank_slope", TWO),
)
TRAINING = (
    ("validation bits per byte, mean", "bits_per_byte.mean", BITS),
    ("lowest–highest of the seeds", "bits_per_byte", span),
    ("seeds", "runs", len),
    ("parameters, embeddings", "parameters.embeddings", COUNT),
    ("parameters, others", "parameters.others", COUNT),
    ("steps", "steps", COUNT),
    ("tokens read", "tokens", COUNT),
    ("text read, MB", "bytes", _mega),
)


class Column(NamedTuple):
    """One figure of all variants."""

    heading: str  # in words, with its unit
    cells: tuple[str, ...]  # one a variant, "-" where there is no figure
    best: frozenset[int] = frozenset()  # which cells are as good as the best, where that is known


class Table(NamedTuple):
    """What differs, and what is the same, of one part of the figures."""

    title: str
    labels: tuple[str, ...]  # of the variants
    columns: list[Column]
    same: list[Column]  # all cells of each are the same


def splits(results: list[Result]) -> list[str]:
    """The splits that were measured, train first."""
    names = [name for name, about in results[0].metrics.items() if isinstance(about, dict)]
    return sorted(names, key=lambda name: name != "train")


def tables(results: list[Result]) -> list[Table]:
    """All tables: train, where the vocabularies stand, too; other splits; training, if any."""
    first, *others = splits(results)
    about = columns_of(VARIANT, [{**result._asdict()} for result in results])
    made = [_table(f"{first} split", results, [*about, *_of_split(results, first)])]
    made += [_table(f"{split} split", results, _of_split(results, split)) for split in others]
    if any(result.training for result in results):
        bits, *more = columns_of(TRAINING, [result.training for result in results])
        bits = bits._replace(best=as_good_as_best(results))
        made.append(_table("training", results, [bits, *more]))
    return made


def as_good_as_best(results: list[Result]) -> frozenset[int]:
    """The variants whose range of bits per byte over the seeds reaches that of the lowest mean."""
    bits = {
        i: result.training["bits_per_byte"] for i, result in enumerate(results) if result.training
    }
    least = min(bits.values(), key=lambda each: each["mean"])
    return frozenset(i for i, each in bits.items() if each["low"] <= least["high"])


def _table(title: str, results: list[Result], made: list[Column]) -> Table:
    same = [column for column in made if len(results) > 1 and len(set(column.cells)) == 1]
    differ = [column for column in made if column not in same]
    return Table(title, tuple(result.label for result in results), differ, same)


def _of_split(results: list[Result], split: str) -> list[Column]:
    return columns_of(SPLIT, [result.metrics[split] for result in results])


def columns_of(figures: tuple, sources: list[dict | None]) -> list[Column]:
    """A column for each of `figures`, such as SPLIT, with a cell for each source."""
    return [
        Column(heading, tuple(_cell(source, path, form) for source in sources))
        for heading, path, form in figures
    ]


def _cell(source: dict | None, path: str, form: Callable) -> str:
    value = source and reduce(dict.__getitem__, path.split("."), source)
    return "-" if value is None else str(form(value))


def same_line(table: Table, who: str = "The same for all") -> str:
    """What is the same for all variants, in one line; empty where nothing is."""
    parts = "; ".join(f"{heading} {cells[0]}" for heading, cells, _ in table.same)
    return f"{who}: {parts}" if parts else ""
