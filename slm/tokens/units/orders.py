"""What travels to a worker elsewhere? Paths of a disk that all share, a unit, and what must agree.

In: an order. Out: the unit lies in its folder. A worker first proves that it would make the same
bytes: it has the driver's modules of slm, the same versions of the libraries that decide ids, and
finds the same text and the same vocabulary at these paths.
"""

import platform
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from slm.core.errors import UserError, check
from slm.core.files import read_json, to_json
from slm.text.units import Unit
from slm.tokens.tokenizer import choose_engine, encoder
from slm.tokens.units.identity import CODE, libraries
from slm.tokens.units.making import Work, make_missing
from slm.tokens.vocabulary import load_described


class Order(NamedTuple):
    """A unit for a worker; but for the paths it is the same for all machines."""

    unit: Unit
    raw: str  # absolute, as are the others
    vocabulary: str  # the folder, whose vocabulary.json says which it is
    folder: str  # where finished units lie
    known: str  # what was found of tokenizer.json files (slm.tokens.agreement)
    engine: str  # as params.yaml wants it
    block_bytes: int
    described: dict[str, Any]  # the vocabulary, as tokens.json has it
    code: str  # SHA-256 of our modules
    libraries: dict[str, str | None]


def carry_out(given: Order) -> bool:
    """Makes a unit, on a worker; returns whether it was made, False where it was there.

    Raises UserError if this worker would not make the same bytes.
    """
    _prove(given)
    options = given.raw, given.vocabulary, given.known, given.engine, given.block_bytes
    work = _work(*options, to_json(given.described))
    return make_missing(work, given.unit, Path(given.folder))


def _prove(given: Order) -> None:
    own = libraries()
    for name, version in given.libraries.items():
        check(
            own.get(name) == version,
            f"{_here()} has {name} {own.get(name)}, the driver {version}; install the same "
            "requirements.lock there, and start the worker again",
        )
    check(
        given.code == CODE,
        f"{_here()} has other modules of slm than the driver; check out the same commit there, and "
        "start the worker again",
    )


@lru_cache(4)
def _work(
    raw: str, vocabulary: str, known: str, wanted: str, block_bytes: int, described: bytes
) -> Work:
    for path in (raw, vocabulary):
        if not Path(path).is_dir():
            raise UserError(
                f"{_here()} finds no {path}; driver and workers need one disk, under one path"
            )
    own = read_json(Path(vocabulary) / "vocabulary.json")
    check(to_json(own) == described, f"{_here()} finds another vocabulary in {vocabulary}")
    encoding = load_described(own, Path(vocabulary))
    engine, _ = choose_engine(wanted, encoding, Path(known))
    return Work(Path(raw), encoding, encoder(engine, encoding, Path(known)), 1, block_bytes)


def _here() -> str:
    return f"the worker on {platform.node()}"
