"""Which units are alike? Those that the same code makes of the same text, with one vocabulary.

In: a dataset's source.json, a vocabulary, and how units are cut. Out: a hash, by which finished
units are found again. Our own modules count, and the versions of the libraries that decide ids.
"""

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from slm.core.files import to_json
from slm.core.formats import Vocabulary

HERE = Path(__file__).parents[2]  # slm/
ROOMS = ("core", "text", "tokens")  # what the tokenize stage imports
ENGINES = HERE / "tokens" / "engines.txt"


def identity(source: dict, vocabulary: Vocabulary, unit_bytes: int | None) -> str:
    """Returns the name of the folder of these units: the first 16 digits of a SHA-256."""
    told = [source, vocabulary, unit_bytes, CODE, libraries()]
    return hashlib.sha256(to_json(told)).hexdigest()[:16]


def code() -> str:
    """Returns the SHA-256, in hexadecimal, of the modules that the tokenize stage is made of."""
    digest = hashlib.sha256()
    files = (path for room in ROOMS for path in (HERE / room).rglob("*.py"))
    for path in sorted(files):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(HERE).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def libraries() -> dict[str, str | None]:
    """Returns the versions of the libraries that decide ids; None of one that is not installed."""
    lines = ENGINES.read_text(encoding="utf-8").splitlines()
    names = [line.partition("==")[0] for line in lines if not line.startswith("#")]
    return {name: _version(name) for name in names}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


CODE = code()  # about as they were imported
