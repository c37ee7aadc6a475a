"""Which tokenizations are compared, and what are they called?

In: params.yaml and dvc.lock. Out: variants, in the order of `compare.variants`, each what
params.yaml says with some values changed. A variant's name tells its parameters and ends in a hash
of all that decides its bytes: text, parameters, and the code of the stages. So what has that name
already is that variant, whatever the commit.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from slm.bins.format import END_OF_TEXT
from slm.core.errors import UserError, check
from slm.core.params import choice, whole
from slm.tokens import wanted as tokenizer
from slm.tokens.making import check_wanted
from slm.tokens.patterns import GPT2
from slm.versions.lock import locked_hash

KEYS = (*(f"tokenizer.{key}" for key in tokenizer.KEYS), "bins.end_of_text")
CURE = f"`compare.variants` is a list of changes, such as {{{KEYS[-1]}: append}}"


class Variant(NamedTuple):
    """A tokenization of the chosen dataset."""

    tokenizer: tokenizer.Wanted
    end_of_text: str

    @property
    def label(self) -> str:
        """What it is called in reports."""
        wanted = self.tokenizer
        words = [wanted.encoding, f"{wanted.vocab_size:,}" if wanted.vocab_size else ""]
        words.append(f"({wanted.pattern})" if wanted.pattern != GPT2.name else "")
        words.append(f"with {', '.join(wanted.special_tokens)}" if wanted.special_tokens else "")
        words.append(_file_label(wanted) if wanted.encoding == "file" else "")
        more = {"append": ", end of text appended", "prepend": ", end of text prepended"}
        return f"{' '.join(filter(None, words))}{more.get(self.end_of_text, '')}"

    @property
    def values(self) -> dict[str, object]:
        """What stands in params.yaml for it."""
        listed = {**self.tokenizer._asdict()}
        listed["special_tokens"] = [*self.tokenizer.special_tokens]
        return dict(zip(KEYS, [*listed.values(), self.end_of_text], strict=True))


def _file_label(wanted: tokenizer.Wanted) -> str:
    """Which tokenizer.json it is, with the beginning of the hash that tells it from others."""
    name = wanted.path or Path(wanted.file or "").name
    end = f", ending in {wanted.end_of_text}" if wanted.end_of_text else ""
    return f"{name} {(wanted.revision or wanted.sha256 or '')[:7]}{end}"


def variants(params: dict) -> list[Variant]:
    """The variants that params.yaml lists, each once; raises UserError where one is none."""
    section = params.get("compare")
    listed = section.get("variants") if isinstance(section, dict) else None
    if not isinstance(listed, list) or not listed or not all(isinstance(v, dict) for v in listed):
        raise UserError(f"params.yaml: compare.variants is {str(listed)[:60]}; {CURE}")
    return list(dict.fromkeys(_variant(params, changes) for changes in listed))


def _variant(params: dict, changes: dict) -> Variant:
    for key in changes:
        if key not in KEYS:
            raise UserError(
                f"params.yaml: compare.variants has {key!r}, expected {', '.join(KEYS)}; {CURE}"
            )
    changed = {name: dict(params.get(name) or {}) for name in ("tokenizer", "bins")}
    own = changed["tokenizer"].get("encoding")
    if changes.get("tokenizer.encoding", own) != own:
        changed["tokenizer"] |= tokenizer.DEFAULTS  # what the other encoding has is none of its own
    for key, value in changes.items():
        section, name = key.split(".")
        changed[section][name] = value
    wanted = tokenizer.wanted(changed)
    policy = choice(changed, "bins", "end_of_text", END_OF_TEXT)
    check(
        ".." not in Path(wanted.file or "").parts,
        f"tokenizer.file {wanted.file} has `..`; give a path from the root of the repository, or "
        "an absolute one",
    )
    check_wanted(wanted, policy)
    return Variant(wanted, policy)


def name_of(variant: Variant, dataset: str, decided: str) -> str:
    """What its experiment is called; `decided` is what `deciding` returned."""
    wanted = variant.tokenizer
    pattern = wanted.pattern if wanted.pattern != GPT2.name else None
    words = [dataset, wanted.encoding, wanted.vocab_size, pattern, variant.end_of_text]
    digest = hashlib.sha256(f"{decided} {variant}".encode()).hexdigest()[:8]
    return "-".join(str(word) for word in (*words, digest) if word is not None)


def deciding(params: dict, dataset: str) -> str:
    """A hash of all that decides the results of any variant, but for what the variant itself sets.

    That is the text, as dvc.lock names it, what `describe` is asked, and the stages after the
    text: their commands and every file of code that they depend on.
    """
    raw = locked_hash(Path("dvc.lock"), f"download@{dataset}", f"data/{dataset}/raw")
    stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    del stages["download"]
    deps = (dep for stage in stages.values() for dep in stage.get("deps", []))
    files = {file for dep in deps if isinstance(dep, str) for file in _code(Path(dep))}
    code = {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(files)}
    block_size = whole(params, "describe", "block_size")
    decided = json.dumps([raw, block_size, stages, code], sort_keys=True)
    return hashlib.sha256(decided.encode()).hexdigest()


def _code(dep: Path) -> Iterator[Path]:
    """The files of code below a dependency of a stage; none of a dataset's own."""
    if dep.parts[0] in ("data", "metrics"):
        return
    files = sorted(dep.rglob("*")) if dep.is_dir() else [dep]
    yield from (file for file in files if file.is_file() and file.suffix != ".pyc")
