"""Which documents go where: what an independent slow implementation says, and nothing else."""

import json
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path

import ftfy
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from slm.bins.from_tokens import write_bins
from slm.bins.opening import Bins, open_bins
from slm.bins.verifying import damage
from slm.core.errors import UserError
from slm.selection.audit import MOJIBAKE, audit
from slm.selection.blocks import selected_blocks
from slm.selection.facts import write_facts
from slm.selection.left_out import left_out, repaired_texts
from slm.selection.steps import select
from slm.selection.wanted import entry_of, wanted
from slm.text.stories import stories
from slm.tokens.token_files import make_tokens
from slm.tokens.tokenizer import encoder
from slm.tokens.vocabulary import load_encoding
from tests.helpers import NASTY, build, json_lines, one_line
from tests.workspace import EXCERPT

ENCODING = load_encoding("gpt2")
MASK = 2**64 - 1


# --- the slow implementation: loops over Python's strings and integers, from the docs alone ---


def slow_hash(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()


def slow_mix(z: int) -> int:
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
    return z ^ z >> 31


def slow_word(key: int, counter: int) -> int:
    return slow_mix((key + (counter + 1) * 0x9E3779B97F4A7C15) & MASK)


def slow_is_held(text: str, share: float, salt: int) -> bool:
    u = slow_word(int.from_bytes(slow_hash(text)[:8], "little"), salt)
    return u < Fraction(str(share)) * 2**64 // 1


def slow_permuted(key: int, x: int, n: int) -> int:
    """Place i of a shuffled split has document slow_permuted(word(seed, 0), i, n)."""
    a = next(a for a in range(1, n + 1) if a * a >= n)
    b = -(-n // a)
    rounds = 6 if n >= 256 else 12
    while True:
        left, right = divmod(x, b)
        for i in range(1, rounds + 1):
            v, m = (right, a) if i % 2 else (left, b)
            drawn = ((slow_word(key, 16 * v + i) >> 32) * m) >> 32
            if i % 2:
                left = (left + drawn) % a
            else:
                right = (right + drawn) % b
        x = left * b + right
        if x < n:
            return x


def slow_select(source: dict[str, list[str]], entry: dict) -> tuple[dict, list]:
    """By split the (source row, text) pairs in order, and (split, reason, source row) left out."""
    splits = {split: list(enumerate(texts)) for split, texts in source.items()}
    if "holdout" in entry:
        (name,) = (key for key in entry["holdout"] if key != "salt")
        splits["train"], splits[name] = slow_holdout(
            source["train"], entry["holdout"][name], entry["holdout"].get("salt")
        )
    if "repair" in entry:
        for split, pairs in splits.items():
            splits[split] = [
                (row, ftfy.fix_encoding(text) if MOJIBAKE.search(text) else text)
                for row, text in pairs
            ]
    gone, kept = [], {}
    for split, pairs in splits.items():
        elsewhere = {text for other in splits if other != split for _, text in splits[other]}
        seen: set[str] = set()
        kept[split] = []
        for row, text in pairs:
            reasons = {
                "empty": text == "",
                "duplicates": text in seen,
                "leaked": split == "train" and text != "" and text in elsewhere,
            }
            why = [r for r in ("empty", "duplicates", "leaked") if r in entry.get("drop", ())]
            reason = next((r for r in why if reasons[r]), None)
            seen |= {text} - {""}
            if reason:
                gone.append((split, reason, row))
            else:
                kept[split].append((row, text))
    if "shuffle" in entry:
        key, train = slow_word(entry["shuffle"], 0), kept["train"]
        kept["train"] = [train[slow_permuted(key, i, len(train))] for i in range(len(train))]
    if "first" in entry:
        gone += [("train", "first", row) for row, _ in kept["train"][entry["first"] :]]
        kept["train"] = kept["train"][: entry["first"]]
    return kept, gone


def slow_holdout(texts: list[str], way, salt) -> tuple[list, list]:
    pairs = list(enumerate(texts))
    if isinstance(way, float):
        held = [slow_is_held(text, way, salt) for text in texts]
    elif "rows" in way:
        held = [way["rows"][0] <= row < way["rows"][1] for row in range(len(texts))]
    else:
        sizes = [len(text.encode()) for text in texts]
        at = int((1 - Fraction(str(way["last"]))) * sum(sizes))
        if len(texts) == 1:
            content = texts[0].encode()
            while at < len(content) and 0x80 <= content[at] < 0xC0:
                at += 1
            return [(0, content[:at].decode())], [(0, content[at:].decode())]
        held = [sum(sizes[:row]) >= at for row in range(len(texts))]
    return (
        [pair for pair, out in zip(pairs, held, strict=True) if not out],
        [pair for pair, out in zip(pairs, held, strict=True) if out],
    )


# --- ours ---


def made(folder: Path, source: dict[str, list[str]], entry: dict, policy: str = "none") -> Bins:
    """Bins of these texts by this entry, through every step but DVC."""
    files = {split: [f"{split}.jsonl"] for split in source}
    contents = {f"{split}.jsonl": json_lines(texts) for split, texts in source.items()}
    raw = build(folder, contents, files=files)
    return selected(folder, raw, entry, policy, tuple(source))


def selected(folder: Path, raw: Path, entry: dict, policy: str, splits: tuple[str, ...]) -> Bins:
    for name in ("facts", "selection", "tokens", "bins"):
        (folder / name).mkdir()
    write_facts(folder / "facts", {s: a.facts for s, a in audit(raw, 2).items()})
    params = params_of(entry, splits)
    asked = wanted(params, "mine")
    select(entry_of(params, "mine"), asked, raw, folder / "facts", folder / "selection")
    make_tokens(raw, ENCODING, folder / "tokens", "gigatoken", 2)
    encode = encoder("gigatoken", ENCODING)
    write_bins(folder / "tokens", folder / "bins", policy, selected=(folder / "selection", encode))
    assert list(damage(folder / "bins")) == []
    return open_bins(folder / "bins")


def params_of(entry, splits=("train",)) -> dict:
    files = {split: [f"{split}.jsonl"] for split in splits}
    return {
        "datasets": {"mine": {"kind": "files", "files": files}},
        "select": {} if entry is None else {"mine": entry},
    }


def documents(bins: Bins, split: str) -> list[tuple[int, list[int], int]]:
    """Row of the source, ids and bytes of text of each document."""
    ids, docs, rows = bins.ids(split), bins.docs(split).tolist(), bins.rows(split)
    numbers = range(len(docs) - 1) if rows is None else rows.tolist()
    return [
        (row, ids[start[0] : end[0]].tolist(), end[1] - start[1])
        for row, start, end in zip(numbers, docs, docs[1:], strict=False)
    ]


def assert_slow(folder: Path, bins: Bins, source: dict, entry: dict, policy: str = "none") -> None:
    """The bins, the lists of documents and the sums are what the slow implementation says."""
    kept, gone = slow_select(source, entry)
    end = [ENCODING.eot_token]
    before, after = ([], end) if policy == "append" else (end, [])
    if policy == "none":
        before = after = []
    assert set(bins.manifest["splits"]) == set(kept)
    for split, pairs in kept.items():
        expected = [
            (row, [*before, *ENCODING.encode_ordinary(text), *after], len(text.encode()))
            for row, text in pairs
        ]
        assert documents(bins, split) == expected
        blocks = list(selected_blocks(folder / "raw", folder / "selection", split, 500))
        texts = [block.text(i) for block in blocks for i in range(block.documents)]
        assert sorted(texts) == sorted(text for _, text in pairs)
    assert_sums(bins, source, kept, gone, policy)
    lines = list(left_out(folder / "raw", folder / "selection"))
    assert len(lines) == len(gone)
    for split, reason, row in gone:
        files = f"{split if split in source else 'train'}.jsonl"
        assert any(
            line.startswith(f"{split}: {reason}: row {row + 1} of {files}: ") for line in lines
        )


def assert_sums(bins: Bins, source: dict, kept: dict, gone: list, policy: str) -> None:
    """Every step took what the slow implementation left out, and what is left adds up."""
    steps = bins.manifest["selection"]["steps"]
    for split, pairs in kept.items():
        own = [step for step in steps if step["split"] == split]
        for step in own:
            if step["step"] in ("holdout", "repair"):
                continue
            rows = [row for s, reason, row in gone if (s, reason) == (split, step["step"])]
            assert step["took"]["documents"] == len(rows)
        about = bins.manifest["splits"][split]
        more = len(pairs) * (policy != "none")
        final = {
            "documents": len(pairs),
            "bytes": sum(len(text.encode()) for _, text in pairs),
            "tokens": about["tokens"] - more,
        }
        if own:
            assert own[-1]["left"] == final
        for one, two in zip(own, own[1:], strict=False):
            for key in ("documents", "bytes", "tokens"):
                gave = two.get("gave", {key: 0})[key]
                assert two["left"][key] == one["left"][key] - two["took"][key] + gave
        words = bins.manifest["selection"]["words"].get(split)
        assert words in (None, sum(len(text.split()) for _, text in pairs))
    if held := [step for step in steps if step["step"] == "holdout"]:
        total = {
            "documents": len(source["train"]),
            "bytes": sum(len(t.encode()) for t in source["train"]),
        }
        if "last" not in str(bins.manifest["selection"]["select"]) or len(source["train"]) > 1:
            for key, value in total.items():
                assert held[0]["took"][key] + held[0]["left"][key] == value


TEXTS = [*stories(7, "train", 300), *NASTY]
PLANTED = [*TEXTS[:150], "It was Timâ€™s.", "", TEXTS[3], "CafÃ©.", *TEXTS[150:], TEXTS[9], "Café."]
VALIDATION = [*stories(7, "validation", 40), TEXTS[20], "Café.", "", "It was Tim’s."]
HASHED = {"validation": 0.2, "salt": 3}
RECIPES = {
    "share": ({"train": PLANTED}, {"holdout": HASHED}),
    "last": ({"train": PLANTED}, {"holdout": {"validation": {"last": 0.1}}}),
    "rows": ({"train": PLANTED}, {"holdout": {"valid": {"rows": [10, 20]}}}),
    "one file": ({"train": ["".join(TEXTS) + "é" * 900]}, {"holdout": {"val": {"last": 0.1}}}),
    "drop": (
        {"train": PLANTED, "validation": VALIDATION},
        {"drop": ["leaked", "empty", "duplicates"]},
    ),
    "leaks": ({"train": PLANTED, "validation": VALIDATION}, {"drop": ["leaked"]}),
    "repair": ({"train": PLANTED, "validation": VALIDATION}, {"repair": ["mojibake"]}),
    "shuffle": ({"train": PLANTED, "validation": VALIDATION}, {"shuffle": 1337}),
    "first": ({"train": PLANTED, "validation": VALIDATION}, {"first": 17}),
    "all": (
        {"train": PLANTED},
        {
            "first": 250,
            "shuffle": 2**64 - 1,
            "drop": ["empty", "duplicates", "leaked"],
            "repair": ["mojibake"],
            "holdout": HASHED,
        },
    ),
    "several splits": (
        {"train": PLANTED, "test": VALIDATION},
        {"holdout": HASHED, "drop": ["leaked"], "repair": ["mojibake"], "shuffle": 0},
    ),
}


@pytest.mark.parametrize("policy", ["none", "append", "prepend"])
@pytest.mark.parametrize("name", RECIPES)
def test_bins_hold_what_the_slow_implementation_selects(tmp_path, name, policy):
    source, entry = RECIPES[name]
    bins = made(tmp_path, source, entry, policy)
    assert_slow(tmp_path, bins, source, entry, policy)
