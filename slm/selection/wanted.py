"""Which documents does params.yaml ask for? The section `select:`, read and checked.

It has an entry by dataset, `{}` or none at all for every document in source order:

    holdout  {<split>: <share>, salt: <number>}, {<split>: {last: <share>}} or
             {<split>: {rows: [<first>, <end>]}}: see slm.selection.holdout
    repair   [mojibake]: see slm.selection.repair
    drop     some of empty, duplicates, leaked: see slm.selection.steps
    shuffle  a seed; first: a number of documents: both of train, see slm.selection.steps
"""

from typing import Any, NamedTuple

from slm.core.entries import NAME, check_split, splits_of
from slm.core.errors import UserError, check

KEYS = ("holdout", "repair", "drop", "shuffle", "first")
OF_TRAIN = ("holdout", "shuffle", "first")
REPAIRS = ("mojibake",)
DROPS = ("empty", "duplicates", "leaked")
TRAIN = "train"
WAYS = "{validation: 0.005, salt: 0}, {validation: {last: 0.1}} or {validation: {rows: [0, 1000]}}"


class Holdout(NamedTuple):
    """Which documents of train become a split of their own; one of the three is not None."""

    split: str
    share: float | None = None
    salt: int = 0
    last: float | None = None
    rows: tuple[int, int] | None = None


class Wanted(NamedTuple):
    """The entry of a dataset; its steps are taken in this order."""

    holdout: Holdout | None = None
    repair: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    shuffle: int | None = None
    first: int | None = None


def wanted(params: dict, name: str) -> Wanted:
    """Returns what `select:` has for dataset `name`; raises UserError, naming the key, if wrong."""
    for other in entries(params):
        known = ", ".join(map(str, params["datasets"]))
        check(
            other in params["datasets"], f"params.yaml: select has {other!r}, no dataset: {known}"
        )
    entry, where = entries(params).get(name), f"params.yaml: select.{name}"
    entry = {} if entry is None else entry
    check(isinstance(entry, dict), f"{where} is {entry!r}, expected some of {', '.join(KEYS)}")
    entry = {key: value for key, value in entry.items() if value is not None}
    for key in entry:
        check(key in KEYS, f"{where} has {key!r}, expected some of {', '.join(KEYS)}")
    splits = splits_of(params["datasets"][name])
    for key in (key for key in OF_TRAIN if key in entry):
        check(TRAIN in splits, f"{where}.{key} is of train; {name} has only {', '.join(splits)}")
    return Wanted(
        _holdout(entry["holdout"], f"{where}.holdout", splits) if "holdout" in entry else None,
        _names(entry, "repair", REPAIRS, where),
        _names(entry, "drop", DROPS, where),
        _number(entry, "shuffle", where, 0, 2**64 - 1),
        _number(entry, "first", where, 1, 2**62),
    )


def as_entry(wanted: Wanted) -> dict[str, Any]:
    """Returns what is asked as an entry, the same for any order of keys and names there."""
    entry: dict[str, Any] = {}
    if held := wanted.holdout:
        way = {"last": held.last} if held.last is not None else {"rows": list(held.rows or ())}
        hashed = {held.split: held.share, "salt": held.salt}
        entry["holdout"] = {held.split: way} if held.share is None else hashed
    entry |= {"repair": list(wanted.repair), "drop": list(wanted.drop)}
    entry |= {"shuffle": wanted.shuffle, "first": wanted.first}
    return {key: value for key, value in entry.items() if value not in (None, [])}


def entries(params: dict) -> dict:
    """Returns the section `select`; raises UserError if it is missing or no mapping."""
    section = params.get("select")
    if not isinstance(section, dict):
        found = f"has select: {section!r}" if "select" in params else "has no section select"
        raise UserError(f"params.yaml {found}; it must have `select: {{}}`, or an entry by dataset")
    return section


def _holdout(entry: Any, where: str, splits: tuple[str, ...]) -> Holdout:
    names = [key for key in entry if key != "salt"] if isinstance(entry, dict) else []
    if len(names) != 1 or not isinstance(names[0], str) or not NAME.fullmatch(names[0]):
        raise UserError(f"{where} is {entry!r}, expected one split, such as {WAYS}")
    split, way = names[0], entry[names[0]]
    check_split(split)
    check(split not in splits, f"{where} makes {split}, which the source has; name another split")
    salt = entry.get("salt")
    if _is_share(way) and type(salt) is int and 0 <= salt < 2**64:
        return Holdout(split, share=way, salt=salt)
    if isinstance(way, dict) and len(way) == 1 and "salt" not in entry:
        if _is_share(way.get("last")):
            return Holdout(split, last=way["last"])
        if _is_range(rows := way.get("rows", [])):
            return Holdout(split, rows=(rows[0], rows[1]))
    raise UserError(
        f"{where} is {entry!r}, expected {WAYS}; shares are numbers between 0 and 1, with a point "
        "(YAML reads 1e-3 as text)"
    )


def _is_share(value: object) -> bool:
    return type(value) is float and 0 < value < 1


def _is_range(value: object) -> bool:
    ints = isinstance(value, list) and [type(row) for row in value] == [int, int]
    return ints and 0 <= value[0] < value[1]  # type: ignore[index]


def _names(entry: dict, key: str, known: tuple[str, ...], where: str) -> tuple[str, ...]:
    """The names under a key, in the order of `known`."""
    names = entry.get(key, [])
    fits = isinstance(names, list) and all(name in known for name in names)
    check(fits, f"{where}.{key} is {names!r}, expected a list, some of {', '.join(known)}")
    return tuple(name for name in known if name in names)


def _number(entry: dict, key: str, where: str, least: int, most: int) -> int | None:
    value = entry.get(key)
    fits = value is None or (type(value) is int and least <= value <= most)
    check(fits, f"{where}.{key} is {value!r}, expected a whole number, {least} to {most}")
    return value
