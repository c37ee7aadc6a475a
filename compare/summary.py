"""What a comparison found, in words, and compare.md, which a repository keeps.

In: what was found of each variant, in order; for compare.md the names of the pictures beside it and
the device that models were trained on, too. Out: sentences made of the numbers, whichever way they
fell, and compare.md as GitHub reads it. No time, host or path of a machine is in it: the same input
gives the same bytes.
"""

from collections.abc import Iterable, Iterator

from compare.columns import BITS, COUNT, TWO, as_good_as_best, span, splits, tables
from compare.found import Found
from compare.table import markdown as markdown_table
from compare.table import same_line

CAPTIONS = {
    "lengths": "How many tokens documents have.",
    "ranks": "How often ids stand in the tokens, the most frequent first.",
    "bytes": "How many bytes of text a token stands for, document by document.",
    "curves": "Validation bits per byte while training.",
}
FIGURES = (
    "Tokens are those of the bins, end-of-text among them. p50, p90, p99: so many percent of the "
    "documents have no more tokens. Vocabulary used: the share of ids that occur at all. Entropy: "
    "of how often each id occurs, whatever stands before it. Windows across borders: the share of "
    "training rows that hold tokens of more than one document. Slope: of log count over log rank; "
    "Zipf's law is -1."
)
BOLD = "Bold: the lowest mean, and every other whose range overlaps with its range."
BITS_A_BYTE = (
    "Bits a byte: the loss in bits of every validation token but the first, added up, over the "
    "bytes of text that they stand for, so that vocabularies of any size compare. End-of-text has "
    "a loss and no bytes."
)
OPENED = (
    "The name of a variant is that of its DVC experiment: its parameters, and a hash of what "
    "decides its bytes (text, parameters, code)."
)


def caption(picture: str) -> str:
    """What a picture shows; its name, where nothing is known of it."""
    return CAPTIONS.get(picture, f"{picture.capitalize()}.")


def lead(dataset: str, found: list[Found]) -> str:
    """What was found, in one to three sentences."""
    bits = _trained(found) if any(one.training for one in found) else ()
    return " ".join([_counted(dataset, found), *bits])


def trained_on(found: list[Found], device: str | None) -> str:
    """How the models were trained: on which device, and with how many seeds."""
    runs = {len(one.training["runs"]) for one in found if one.training}
    seeds = f"with {_seeds(*runs)} a variant" if len(runs) == 1 else "with several seeds"
    return f"Trained {f'on {device}, ' if device else ''}{seeds}."


def _seeds(number: int) -> str:
    return "1 seed" if number == 1 else f"{number} seeds"


def commands(dataset: str, one: Found) -> tuple[str, str]:
    """How a variant's bins are opened in Python, and how it is put into the workspace."""
    return (
        f'open_revision("data/{dataset}/bins", "{one.name}")',
        f"dvc exp apply {one.name}",
    )


def markdown(
    dataset: str, found: list[Found], pictures: Iterable[str], training_device: str | None
) -> str:
    """compare.md: what was found, the tables, the pictures `<name>.svg`, how variants open."""
    figures = [table for table in tables(found) if table.title != "training"]
    training = [table for table in tables(found) if table.title == "training"]
    parts = [f"# Tokenizations of {dataset}", lead(dataset, found), "## Figures"]
    parts += [part for table in figures for part in (markdown_table(table), same_line(table))]
    parts += [FIGURES]
    for table in training:
        parts += ["## Training", trained_on(found, training_device), markdown_table(table)]
        parts += [same_line(table), f"{BITS_A_BYTE} {BOLD}"]
    pictures = [f"![{caption(name)}]({name}.svg)" for name in pictures]
    parts += [*(["## Pictures"] if pictures else []), *pictures, *_opened(dataset, found)]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _opened(dataset: str, found: list[Found]) -> Iterator[str]:
    python, shell = commands(dataset, found[0])
    yield "## Opening a variant"
    yield OPENED
    rows = [("variant", "name"), ("---",) * 2]
    rows += [(one.label.replace("|", r"\|"), f"`{one.name}`") for one in found]
    yield "\n".join(f"| {' | '.join(row)} |" for row in rows)
    yield f"```python\nfrom slm.bins import open_bins\n\nbins = {python}\n```"
    yield f"```sh\n{shell}\n```"


def _counted(dataset: str, found: list[Found]) -> str:
    split = splits(found)[0]
    made = [one.metrics[split]["tokens"] for one in found]
    of = f"the {split} split of {dataset}"
    if len(set(made)) == 1:
        who = f"All {len(found)} tokenizations make" if len(found) > 1 else f"{_names(found)} makes"
        return f"{who} {COUNT(made[0])} tokens of {of}{_ratio(found[0], split)}."
    fewest, most = ([found[i] for i, n in enumerate(made) if n == end(made)] for end in (min, max))
    return (
        f"Of {len(found)} tokenizations of {of}, {_names(fewest)} {_verb('make', fewest)} the "
        f"fewest tokens, {COUNT(min(made))}{_ratio(fewest[0], split)}, and {_names(most)} the "
        f"most, {COUNT(max(made))}{_ratio(most[0], split)}."
    )


def _ratio(one: Found, split: str) -> str:
    ratio = one.metrics[split]["bytes_per_token"]
    return "" if ratio is None else f" ({TWO(ratio)} bytes per token)"


def _trained(found: list[Found]) -> Iterator[str]:
    trained = [one for one in found if one.training]
    best = min(trained, key=_mean)
    seeds = len(best.training["runs"])
    spread = f" ({span(best.training['bits_per_byte'])} over {seeds} seeds)" if seeds > 1 else ""
    if len(trained) == 1:
        bits = f"{BITS(_mean(best))} validation bits per byte{spread}"
        yield f"After training, {_names([best])} has {bits}."
        return
    yield (
        f"After training, {_names([best])} has the lowest validation bits per byte, "
        f"{BITS(_mean(best))}{spread}."
    )
    near = [found[i] for i in sorted(as_good_as_best(found)) if found[i] is not best]
    if near:
        ranges = "ranges" if len(near) > 1 else "range"
        overlap = f"The {ranges} of {_names(near)} {_verb('overlap', near)} with it"
        yield f"{overlap}, so these runs do not tell them apart."
    elif seeds == 1:
        yield "That is one seed, so how much chance adds is not known."


def _mean(one: Found) -> float:
    return one.training["bits_per_byte"]["mean"]


def _names(found: list[Found]) -> str:
    *others, last = (f"“{one.label}”" for one in found)
    return f"{', '.join(others)} and {last}" if others else last


def _verb(verb: str, found: list[Found]) -> str:
    return f"{verb}s" if len(found) == 1 else verb
