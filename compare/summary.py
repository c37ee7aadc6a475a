"""What a comparison found, in words, and compare.md, which a repository keeps.

In: what was found of each variant, in order; for compare.md the names of the pictures beside it and
the device that models were trained on, too. Out: sentences made of the numbers, whichever way they
fell, and compare.md as GitHub reads it. No time, host or path of a machine is in it: the same input
gives the same bytes.
"""

from collections.abc import Iterable, Iterator

from compare.columns import (
    BITS,
    COUNT,
    TWO,
    Column,
    Table,
    as_good_as_best,
    same_line,
    span,
    splits,
    tables,
)
from compare.pictures import titles
from compare.result import Result
from compare.table import markdown as markdown_table

CAPTIONS = {
    "lengths": "How many tokens documents have.",
    "ranks": "How often ids occur, the most frequent first.",
    "bytes": "Bytes of text per token, document by document.",
    "curves": "Validation bits per byte while training.",
}
FIGURES = (
    "Tokens are those of the bins, end-of-text among them.",
    "p50, p90, p99: so many percent of the documents have no more tokens.",
    "Vocabulary used: the share of ids that occur at all.",
    "Entropy: of how often each id occurs, whatever stands before it.",
    "Windows across borders: the share of training rows with tokens of more than one document.",
    "Slope: of log count over log rank; Zipf's law is -1.",
)
STORY = (
    "Each box is a token; hover over it for its id.",
    "A dot is the space that a token begins with, ↵ a line feed.",
    "Borders of tokens may be inside a character: the tokens that meet there share a box, with a "
    "small number that says how many they are.",
)
BOLD = "Bold: the lowest mean, and every other whose range overlaps with its range."
BITS_PER_BYTE = (
    "Bits per byte: the loss in bits of every validation token but the first, added up, over the "
    "bytes of text that they stand for, so that vocabularies of any size compare. End-of-text has "
    "a loss and no bytes."
)
NAMES = (
    "A variant is a DVC experiment in the clone that built it, under a name that tells its "
    "parameters and ends in a hash of what decides its bytes (text, parameters, code). `make "
    "compare` builds the variants in another clone."
)


def caption(picture: str) -> str:
    """What a picture shows; its name, where nothing is known of it."""
    return CAPTIONS.get(picture, f"{picture.capitalize()}.")


def lead(dataset: str, results: list[Result]) -> str:
    """What was found, in one to three sentences."""
    return " ".join(findings(dataset, results))


def findings(dataset: str, results: list[Result]) -> list[str]:
    """What was found: of the tokens, what some variants cost, and what training gave."""
    trained = _trained(results) if any(result.training for result in results) else ()
    parts = [_counted(dataset, results), *costs(results), " ".join(trained)]
    return [part for part in parts if part]


def costs(results: list[Result]) -> Iterator[str]:
    """What some variants cost: 4 bytes per token, or documents that do not decode to their text."""
    split = splits(results)[0]
    wide = [result for result in results if result.metrics["vocab_size"] > 2**16]
    if wide:
        sizes = " and ".join(f"{result.metrics[split]['bin_bytes'] / 1e6:,.2f}" for result in wide)
        yield (
            f"{_names(wide)} {_verb('take', wide)} 4 bytes per token in the bins, not 2, with more "
            f"ids than uint16 holds (65,536): {sizes} MB of {split} where uint16 would take half."
        )
    for result in results:
        if result.lossy:
            text = f"of the text of {result.lossy:,} documents of the source, all splits together"
            yield f"{_names([result])} loses some {text}."


def trained_on(results: list[Result], device: str | None) -> str:
    """How the models were trained: on which device, and with how many seeds."""
    runs = {len(result.training["runs"]) for result in results if result.training}
    many = "1 seed" if runs == {1} else f"{max(runs, default=0)} seeds"
    seeds = f"with {many} a variant" if len(runs) == 1 else "with several seeds"
    return f"Trained {f'on {device}, ' if device else ''}{seeds}."


def names(results: list[Result]) -> Table:
    """The names of the variants, as a table of one column."""
    about = [Column(result.label, (result.name,)) for result in results]
    return Table("variant", ("name",), about, [])


def markdown(
    dataset: str, results: list[Result], pictures: Iterable[str], training_device: str | None
) -> str:
    """compare.md: the first sentences, the tables, the pictures `<name>.svg`, the names."""
    figures = [table for table in tables(results) if table.title != "training"]
    training = [table for table in tables(results) if table.title == "training"]
    parts = [f"# Tokenizations of {dataset}", lead(dataset, results), "## Figures"]
    parts += [part for table in figures for part in (markdown_table(table), same_line(table))]
    parts += [" ".join(FIGURES)]
    for table in training:
        parts += ["## Training", trained_on(results, training_device), markdown_table(table)]
        parts += [same_line(table), f"{BITS_PER_BYTE} {BOLD}"]
    pictures = [f"![{caption(name)}]({name}.svg)" for name in pictures]
    parts += [*(["## Pictures"] if pictures else []), *pictures]
    parts += ["## The variants", NAMES, markdown_table(names(results))]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _counted(dataset: str, results: list[Result]) -> str:
    split = splits(results)[0]
    made = [result.metrics[split]["tokens"] for result in results]
    text = f"the {split} split of {dataset}"
    if len(set(made)) == 1:
        all_make = f"All {len(results)} tokenizations make"
        who = all_make if len(results) > 1 else f"{_names(results)} makes"
        return f"{who} {COUNT(made[0])} tokens of {text}{_ratio(results[0], split)}."
    fewest, most = (
        [results[i] for i, n in enumerate(made) if n == end(made)] for end in (min, max)
    )
    return (
        f"Of {len(results)} tokenizations of {text}, {_names(fewest)} {_verb('make', fewest)} the "
        f"fewest tokens, {COUNT(min(made))}{_ratio(fewest[0], split)}, and {_names(most)} the "
        f"most, {COUNT(max(made))}{_ratio(most[0], split)}."
    )


def _ratio(result: Result, split: str) -> str:
    ratio = result.metrics[split]["bytes_per_token"]
    return "" if ratio is None else f" ({TWO(ratio)} bytes per token)"


def _trained(results: list[Result]) -> Iterator[str]:
    trained = [result for result in results if result.training]
    best = min(trained, key=_mean)
    figures = best.training or {}
    seeds = len(figures["runs"])
    spread = f" ({span(figures['bits_per_byte'])} over {seeds} seeds)" if seeds > 1 else ""
    if len(trained) == 1:
        bits = f"{BITS(_mean(best))} validation bits per byte{spread}"
        yield f"After training, {_names([best])} has {bits}."
        return
    yield (
        f"After training, {_names([best])} has the lowest validation bits per byte, "
        f"{BITS(_mean(best))}{spread}."
    )
    near = [results[i] for i in sorted(as_good_as_best(results)) if results[i] is not best]
    if near:
        ranges = "ranges" if len(near) > 1 else "range"
        overlap = f"The {ranges} of {_names(near)} {_verb('overlap', near)} with it"
        yield f"{overlap}, so these runs do not tell them apart."
    elif seeds == 1:
        yield "That is one seed, so how much chance adds is not known."


def _mean(result: Result) -> float:
    return (result.training or {})["bits_per_byte"]["mean"]


def _names(results: list[Result]) -> str:
    return titles.names(result.label for result in results)


def _verb(verb: str, results: list[Result]) -> str:
    return f"{verb}s" if len(results) == 1 else verb
