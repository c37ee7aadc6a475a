"""Which documents go where: what an independent slow implementation says, and nothing else."""

import json
from collections import Counter
from fractions import Fraction
from hashlib import blake2b
from itertools import accumulate, pairwise
from math import ceil, sqrt
from pathlib import Path

import ftfy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm.bins.documents import document
from slm.bins.opening import Bins, open_bins
from slm.bins.verifying import damage
from slm.bins.writing.from_tokens import write_bins
from slm.core.errors import UserError
from slm.selection.audit import MOJIBAKE, audit
from slm.selection.blocks import selected_blocks
from slm.selection.facts import write_facts
from slm.selection.left_out import left_out, repaired_texts
from slm.selection.steps import select
from slm.selection.wanted import wanted
from slm.text.stories import stories
from slm.tokens.reference import Unencodable
from slm.tokens.token_files import make_tokens
from slm.tokens.tokenizer import encoder
from slm.tokens.vocabulary import load_encoding
from tests.helpers import NASTY, build, json_lines, one_line
from tests.workspace import EXCERPT, hashes

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
    a = ceil(sqrt(n))
    a += a % 2 if n > 1 else 0
    b = -(-n // a)
    rounds, stride = (6, 16) if n >= 65_536 else (12, 16) if n >= 64 else (30, 32)
    while True:
        left, right = divmod(x, b)
        for i in range(1, rounds + 1):
            v, m = (right, a) if i % 2 else (left, b)
            drawn = ((slow_word(key, stride * v + i) >> 32) * m) >> 32
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
    select(wanted(params, "mine"), raw, folder / "facts", folder / "selection")
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
        assert texts == [text for _, text in sorted(pairs, key=lambda pair: pair[0])]
        counted = [0, *accumulate(block.documents for block in blocks)]
        assert [block.first for block in blocks] == counted[:-1]
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
        for one, two in pairwise(own):
            for key in ("documents", "bytes", "tokens"):
                gave = two.get("gave", {key: 0})[key]
                assert two["left"][key] == one["left"][key] - two["took"][key] + gave
        words = bins.manifest["selection"]["words"].get(split)
        is_all = split in source and bins.rows(split) is None
        assert words == (None if is_all else sum(len(text.split()) for _, text in pairs))
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


def test_documents_in_many_groups_and_cells_give_the_same_bytes(tmp_path, monkeypatch):
    source, entry = RECIPES["several splits"]
    usual = hashes(made(tmp_path / "usual", source, entry, "append").folder)
    for module in ("slm.core.files", "slm.bins.writing.reading"):
        monkeypatch.setattr(f"{module}.CHUNK_BYTES", 64)
    monkeypatch.setattr("slm.bins.writing.reading.MOST", 7)
    monkeypatch.setattr("slm.bins.writing.reading.GROUP_BYTES", 900)
    monkeypatch.setattr("slm.bins.writing.shuffling.CELL_BYTES", 2000)
    monkeypatch.setattr("slm.selection.steps.STEP", 11)
    monkeypatch.setattr("slm.selection.own_texts.BLOCK_BYTES", 20)
    small = hashes(made(tmp_path / "small", source, entry, "append").folder)
    assert {**small, "manifest.json": usual["manifest.json"]} == usual  # it has more hashes


texts = st.lists(
    st.sampled_from(["", "a", "Tim’s.", "Timâ€™s.", " ", "Ã©", "b é", "\ufeffone"])
    | st.text(max_size=6),
    min_size=1,
    max_size=14,
)
WAYS = [0.3, 0.5, {"last": 0.25}, {"last": 0.5}, {"rows": [0, 1]}, {"rows": [1, 3]}]
ways = st.sampled_from(WAYS)
optional = {
    "holdout": ways.map(lambda way: {"held": way} | ({"salt": 5} if type(way) is float else {})),
    "repair": st.just(["mojibake"]),
    "drop": st.lists(st.sampled_from(["empty", "duplicates", "leaked"]), min_size=1, max_size=3),
    "shuffle": st.integers(0, 2**64 - 1),
    "first": st.integers(1, 12),
}


@given(texts, texts | st.none(), st.fixed_dictionaries({}, optional=optional))
@settings(max_examples=60, deadline=None)
def test_any_texts_by_any_entry_are_selected_as_slow_loops_do(tmp_path_factory, train, test, entry):
    folder, source = tmp_path_factory.mktemp("any"), {"train": train}
    source |= {"test": test} if test else {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slm.bins.writing.reading.MOST", 3)
        patch.setattr("slm.bins.writing.shuffling.CELL_BYTES", 8)
        try:
            bins = made(folder, source, entry)
        except UserError as error:
            assert was_rightly_refused(str(error), source, entry)
            return
    if entry:
        assert_slow(folder, bins, source, entry)
    else:
        assert "selection" not in bins.manifest


def was_rightly_refused(why: str, source: dict, entry: dict) -> bool:
    if "the only document has" in why:
        text, share = source["train"][0], Fraction(str(entry["holdout"]["held"]["last"]))
        at = (1 - share) * len(text.encode()) // 1
        rest = text.encode()[at:].decode(errors="ignore")
        return len(source["train"]) == 1 and (at == 0 or not rest)
    if "the rows of holdout end at" in why:
        return entry["holdout"]["held"]["rows"][1] > len(source["train"])
    if "the only document is cut" in why:
        return len(source["train"]) == 1 and MOJIBAKE.search(source["train"][0]) is not None
    held = {"holdout": entry.get("holdout")}
    kept, _ = slow_select(source, held if "holdout leaves" in why else entry)
    empty = [split for split, pairs in kept.items() if not pairs]
    return any(f"leaves {split} empty" in why for split in empty)


@pytest.mark.skipif(not EXCERPT.is_dir(), reason="real stories are not part of the repository")
def test_real_stories_are_selected_as_slow_loops_do(tmp_path):
    source = {
        split: [json.loads(line)["text"] for line in (EXCERPT / f"{split}.jsonl").open("rb")]
        for split in ("train", "validation")
    }
    entry = {
        "holdout": {"held": 0.1, "salt": 1},
        "repair": ["mojibake"],
        "drop": ["empty", "duplicates", "leaked"],
        "shuffle": 1337,
    }
    bins = made(tmp_path, source, entry, "append")
    assert_slow(tmp_path, bins, source, entry, "append")
    steps = bins.manifest["selection"]["steps"]
    took = Counter(step["step"] for step in steps if step["took"]["documents"])
    assert took["repair"] and took["holdout"]


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"holdout": {"held": {"last": 0.0001}}}, "held empty (train 4, validation 2, held 0 "),
        ({"holdout": {"held": {"rows": [0, 4]}}}, "train empty (train 0, validation 2, held 4 "),
        ({"holdout": {"held": {"rows": [2, 5]}}}, "rows of holdout end at 5, and train has 4 doc"),
        ({"holdout": {"held": 1e-18, "salt": 0}}, "held empty (train 4, validation 2, held 0 "),
        ({"drop": ["leaked"]}, "drop leaves train empty (train 0, validation 2 documents)"),
    ],
)
def test_an_entry_that_leaves_a_split_empty_is_refused_with_counts(tmp_path, entry, says):
    source = {"train": ["One.", "Two.", "One.", "Two."], "validation": ["One.", "Two."]}
    with pytest.raises(UserError) as error:
        made(tmp_path, source, entry)
    assert says in one_line(error)


@pytest.mark.parametrize(("text", "share"), [("é", 0.5), ("abcdé", 0.1), ("", 0.5)])
def test_the_only_document_is_not_cut_into_nothing(tmp_path, text, share):
    with pytest.raises(UserError) as error:
        made(tmp_path, {"train": [text]}, {"holdout": {"held": {"last": share}}})
    assert f"too few for `last` {share}; take another share" in one_line(error)


def test_a_text_that_cannot_be_encoded_is_named_by_its_row_and_file(tmp_path):
    def encode(block):
        raise Unencodable(0)

    source = {"train": ["One.", "It was Timâ€™s."]}
    made(tmp_path, source, {"repair": ["mojibake"]})
    (tmp_path / "again").mkdir()
    with pytest.raises(UserError) as error:
        write_bins(
            tmp_path / "tokens", tmp_path / "again", "none", None, (tmp_path / "selection", encode)
        )
    assert "row 2 of train.jsonl as the selection has it holds a run of" in one_line(error)


def test_the_only_document_with_mojibake_is_not_cut_and_repaired(tmp_path):
    entry = {"holdout": {"held": {"last": 0.5}}, "repair": ["mojibake"]}
    with pytest.raises(UserError) as error:
        made(tmp_path, {"train": ["Timâ€™s. Timâ€™s."]}, entry)
    assert "is cut by `last` and has mojibake" in one_line(error)


def test_no_entry_gives_the_bytes_of_no_selection(tmp_path):
    source = {"train": PLANTED, "validation": VALIDATION}
    empty = made(tmp_path / "empty", source, {})
    (plain := tmp_path / "plain").mkdir()
    write_bins(tmp_path / "empty/tokens", plain, "none")
    assert hashes(empty.folder) == hashes(plain)


@pytest.mark.parametrize("name", ["train.outcomes", "train.places", "train.texts"])
def test_a_selection_that_was_changed_on_the_disk_is_refused(tmp_path, name):
    made(tmp_path, *RECIPES["all"])
    path = tmp_path / "selection" / name
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        list(left_out(tmp_path / "raw", tmp_path / "selection"))
    assert f"{path} is not as selection.json says; `rm -r {path.parent}`" in one_line(error)


def test_what_is_repaired_is_listed_as_it_is_in_the_bins(tmp_path):
    source = {"train": ["Well.", "It was Timâ€™s."], "validation": ["CafÃ©.", "â"]}
    listed = ["train: repaired: row 2 of train.jsonl: 'It was Tim’s.'",
              "validation: repaired: row 1 of validation.jsonl: 'Café.'"]  # fmt: skip
    made(tmp_path / "all", source, {"repair": ["mojibake"]})
    folders = (tmp_path / "all/raw", tmp_path / "all/selection")
    assert list(repaired_texts(*folders)) == listed
    made(tmp_path / "few", source, {"repair": ["mojibake"], "first": 1})
    folders = (tmp_path / "few/raw", tmp_path / "few/selection")
    assert list(repaired_texts(*folders)) == listed[1:]
    assert list(left_out(*folders)) == ["train: first: row 2 of train.jsonl: 'It was Tim’s.'"]
    made(tmp_path / "cut", {"train": ["One. Two."]}, {"holdout": {"held": {"last": 0.5}}})
    assert not list(repaired_texts(tmp_path / "cut/raw", tmp_path / "cut/selection"))


def test_a_document_says_which_row_of_the_source_it_is(tmp_path):
    bins = made(tmp_path, *RECIPES["all"])
    for split in ("train", "validation"):
        row = int(bins.rows(split)[3])
        assert document(bins, split, 3).source == f"row {row + 1} of train.jsonl"


def test_the_order_of_keys_and_names_changes_no_byte(tmp_path):
    source, entry = RECIPES["all"]
    turned = {key: entry[key] for key in reversed(entry)}
    turned |= {"drop": entry["drop"][::-1], "holdout": {"salt": 3, "validation": 0.2}}
    made(tmp_path / "one", source, entry)
    made(tmp_path / "two", source, turned)
    for folder in ("selection", "bins"):
        assert hashes(tmp_path / "one" / folder) == hashes(tmp_path / "two" / folder)
