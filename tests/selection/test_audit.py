"""What is planted in a text is found, with its rows; what plain loops find is all there is."""

import gzip
import json
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.audit import WORKER
from slm.core.errors import UserError
from slm.selection.audit import (
    ENDINGS,
    MOJIBAKE,
    WIDE_SPACES,
    Audit,
    audit,
    facts_of_block,
    shares,
    words,
)
from slm.selection.copies import in_other, numbered, repeated
from slm.selection.facts import FACTS, FAULTS, read_facts, write_facts
from slm.selection.faults import advice, faults
from slm.selection.workers import facts_by_workers
from slm.text.stories import stories
from tests.helpers import NASTY, block, build, json_lines
from tests.workspace import EXCERPT, ROOT

FILES = {"train": ["train.jsonl"], "validation": ["validation.jsonl"]}
# Whitespace and its neighbours, mojibake and what looks like it, controls, ends.
SPACES = [chr(code) for code in range(sys.maxunicode) if chr(code).isspace()]
PIECES = ["a", "é", "字", "😊", ".", "”", "â", "€", "Ã", "©", "Â", "\xa0", "ð", "Ÿ", "\x80"]
PIECES += ["\u2007", "\u200b", "\u1681", "\u3001", "\x84", "\x86", "\0", "\x7f", "\x9f", *SPACES]
# The characters whose UTF-8 is looked for, by its first byte; of U+2000 … U+203F two bytes will do.
WRONG = [*range(0xA0, 0x180), *range(0x2040, 0x2140), 0xFEFF, *range(0x1F000, 0x20000)]
CODES = {0xE2: [b"\xe2\x80"]}
for encoded in (chr(code).encode() for code in WRONG):
    CODES.setdefault(encoded[0], []).append(encoded)
texts = st.text(st.sampled_from(PIECES), max_size=12) | st.text(max_size=8)


def audit_of(folder: Path, train: list[str], validation: list[str], **options) -> dict[str, Audit]:
    """The audit of two splits."""
    contents = {"train.jsonl": json_lines(train), "validation.jsonl": json_lines(validation)}
    return audit(build(folder, contents, files=FILES), **{"workers": 2, **options})


def rows(actual: Audit) -> dict[str, list[int]]:
    return {kind: of.tolist() for kind, of in actual.rows.items()}


def slowly(split: str, splits: dict[str, list[str]]) -> tuple[int, dict[str, list[int]]]:
    """A split's words and rows, from their definitions: loops over strings."""
    own = splits[split]
    (other,) = (name for name in splits if name != split)
    tests = {
        "mojibake": lambda _, text: slow_mojibake(text),
        "control_characters": lambda _, text: any(slow_control(ord(c)) for c in text),
        "unfinished": lambda _, text: bool(text.strip()) and text.split()[-1][-1] not in ENDINGS,
        "only_whitespace": lambda _, text: text.isspace(),
        "byte_order_marks": lambda _, text: False,
        "replacement_characters": lambda _, text: "\ufffd" in text,
        "duplicates": lambda row, text: bool(text) and text in own[:row],
        f"also_in_{other}": lambda _, text: bool(text) and text in splits[other],
    }
    actual = {
        kind: [row for row, text in enumerate(own) if test(row, text)]
        for kind, test in tests.items()
    }
    return sum(len(text.split()) for text in own), actual


def slow_control(code: int) -> bool:
    return (code < 32 and code not in (9, 10, 13)) or 127 <= code < 160


def slow_bytes(character: str) -> set[int]:
    """The bytes that are read as this character, in windows-1252 or in Latin-1."""
    read = {ord(character)} if ord(character) < 256 else set()
    try:
        return read | {character.encode("cp1252")[0]}
    except UnicodeEncodeError:
        return read


def slow_mojibake(text: str) -> bool:
    """Whether some of the text is the UTF-8 of one of these characters, read wrongly."""
    readings = [slow_bytes(character) for character in text]
    return any(
        all(byte in reading for byte, reading in zip(code, readings[start:], strict=False))
        for start in range(len(text))
        for lead in readings[start]
        for code in CODES.get(lead, [])
        if start + len(code) <= len(text)
    )


def assert_slow(actual: dict[str, Audit], splits: dict[str, list[str]]) -> None:
    for split, own in splits.items():
        counted, expected = slowly(split, splits)
        assert (len(actual[split].facts), actual[split].words) == (len(own), counted)
        assert rows(actual[split]) == expected
        facts = [
            (blake2b(text.encode(), digest_size=16).digest(), len(text.encode()), len(text.split()))
            for text in own
        ]
        assert actual[split].facts[["hash", "bytes", "words"]].tolist() == facts


# --- planted ---


def test_what_was_planted_is_found_and_nothing_else(tmp_path):
    train, validation = list(stories(1, "train", 300)), list(stories(1, "validation", 40))
    clean = audit_of(tmp_path / "clean", train, validation)
    assert not any(of.size for actual in clean.values() for of in actual.rows.values())
    train += [train[5], "It was Timâ€™s.", "Bell\a.", "And then", "", train[5], validation[7]]
    train += [" \n", "\u3000"]
    actual = audit_of(tmp_path / "planted", train, [*validation, "", validation[0]])
    assert rows(actual["train"]) == {
        "mojibake": [301],
        "control_characters": [302],
        "unfinished": [303],
        "only_whitespace": [307, 308],
        "byte_order_marks": [],
        "replacement_characters": [],
        "duplicates": [300, 305],
        "also_in_validation": [306],
    }
    nothing = {kind: [] for kind in FAULTS}
    assert rows(actual["validation"]) == {**nothing, "duplicates": [41], "also_in_train": [7]}
    figures = shares(actual["train"])
    assert figures["duplicates"] == {"documents": 2, "share": 2 / 309}
    assert figures["words"] == sum(len(text.split()) for text in train)
    assert json.loads(json.dumps(figures)) == figures


@pytest.mark.parametrize("text", ["â€œHi,â€\x9d", "â€", "CafÃ©", "a\xa0b Â\xa0c", "ï»¿One", "ðŸ˜Š",
                                  "â\x80\x99", "â‚¬", "â„¢", "Å‚"])  # fmt: skip
def test_utf_8_read_as_another_code_is_mojibake(tmp_path, text):
    actual = audit_of(tmp_path, ["Well.", f"Once {text}.", "Well!"], ["Well?"])
    assert rows(actual["train"])["mojibake"] == [1]
    assert slow_mojibake(text)


def test_mojibake_of_every_character_that_is_looked_for_is_found_and_half_of_it_is_not():
    for code in WRONG:
        encoded = chr(code).encode()
        latin = encoded.decode("latin-1")
        windows = "".join(whatwg(byte) for byte in encoded)
        assert MOJIBAKE.search(latin) and MOJIBAKE.search(windows), hex(code)
        assert not MOJIBAKE.search(latin[:-1]) and not MOJIBAKE.search(windows[:-1]), hex(code)
        assert not MOJIBAKE.search(chr(code)), hex(code)


def whatwg(byte: int) -> str:
    """A byte as browsers read windows-1252: where it has no character, as Latin-1's."""
    return bytes([byte]).decode("cp1252", errors="ignore") or chr(byte)


@pytest.mark.parametrize("text", ["“Hi,” said Zoë’s café — naïve…", "„Spaß“ in Wien", "PÃO",
                                  "château", "Ça va\xa0?", "“CAFÉ’s”", "字典", "😊"])  # fmt: skip
def test_text_that_only_looks_foreign_is_no_mojibake(tmp_path, text):
    assert not audit_of(tmp_path, [text], ["Well."])["train"].rows["mojibake"].size
    assert not slow_mojibake(text)


def test_control_characters_are_those_of_c0_and_c1_and_no_other(tmp_path):
    train = [f"Once{chr(code)}." for code in range(0x180)]
    actual = audit_of(tmp_path, train, ["Well."])
    expected = [code for code in range(0x180) if slow_control(code)]
    assert rows(actual["train"])["control_characters"] == expected


def test_a_run_that_two_documents_share_is_in_neither(tmp_path):
    actual = audit_of(tmp_path, ["Zâ", "€™s", "Ã", "©", "one", "word", "\xa0"], ["Â", "\xa0"])
    assert not actual["train"].rows["mojibake"].size
    assert actual["train"].words == 6 and actual["validation"].words == 1


@pytest.mark.parametrize("end", [".", "!”", "?’", "…", ".)", '."\n', ". \u2003", "。", "!»"])
def test_a_finished_document_may_close_quotes_and_end_in_space(tmp_path, end):
    actual = audit_of(tmp_path, [f"They left{end}", f"They left{end} and"], ["Well."])
    assert rows(actual["train"])["unfinished"] == [1]


def test_empty_documents_are_no_duplicates_and_blank_ones_are_not_unfinished(tmp_path):
    actual = audit_of(tmp_path, ["", "", " ", " ", "\n\u3000"], ["", " "])
    assert rows(actual["train"])["duplicates"] == [3]
    assert rows(actual["train"])["also_in_validation"] == [2, 3]
    assert rows(actual["train"])["unfinished"] == [] and actual["train"].words == 0


# --- what reading took off, and what would take off more ---

MARK = "\ufeff".encode()
MARKED = {
    "a.txt": MARK + b"One.<end>Two.<end>",
    "b.jsonl": MARK + json_lines(["Three."]),
    "c.jsonl.gz": gzip.compress(MARK + json_lines(["Four.", "Five."])),
    "d.json": MARK + b'[{"text": "Six."}, {"text": "Seven."}]',
    "e.csv": MARK + b"text\nEight.\n",
    "f.txt": b"Nine.<end>Ten.\xef\xbb\xbf",  # not at the beginning: text
    "g.txt": MARK,  # and no document
    "h.jsonl": MARK,
    "i.jsonl.gz": gzip.compress(MARK + b"\n"),
    "j.jsonl": MARK + json_lines(["Eleven"]),
}


def test_byte_order_marks_are_counted_at_the_first_document_of_their_file(tmp_path):
    entry = {"files": {"train": list(MARKED)}, "separator": "<end>"}
    raw = build(tmp_path, MARKED, **entry)
    facts, actual = tmp_path / "facts", audit(raw, 2)["train"]
    facts.mkdir()
    write_facts(facts, {"train": actual.facts})
    assert rows(actual)["byte_order_marks"] == [0, 2, 3, 5, 7, 10] and len(actual.facts) == 11
    assert list(faults(raw, facts, "byte_order_marks")) == [
        "train document 0, row 1 of a.txt: 'One.'",
        "train document 2, row 1 of b.jsonl: 'Three.'",
        "train document 3, row 1 of c.jsonl.gz: 'Four.'",
        "train document 5, row 1 of d.json: 'Six.'",
        "train document 7, row 1 of e.csv: 'Eight.'",
        "train document 10, row 1 of j.jsonl: 'Eleven'",
    ]
    last = list(faults(raw, facts, "unfinished"))[-1]
    assert last.startswith("train document 10, row 1 of j.jsonl")


LAYOUT = b"One.\n<end>\nTwo.\n<end>\n"  # of TinyStories' own .txt


@pytest.mark.parametrize(
    ("name", "content", "strip", "advised"),
    [
        ("a.txt", LAYOUT, False, True),
        ("a.txt", LAYOUT, True, False),
        ("a.txt", b"One.<end>Two.<end>", False, False),
        ("a.jsonl", json_lines(["One.", "\n"]), False, False),
    ],
)
def test_documents_of_whitespace_alone_come_with_what_would_strip_them(
    tmp_path, name, content, strip, advised
):
    entry = {"files": {"train": [name]}, "separator": "<end>", "strip": strip}
    raw = build(tmp_path, {name: content}, **entry)
    actual = audit(raw, 1)
    assert (advice(raw, actual) != "") == advised
    assert not advised or rows(actual["train"])["only_whitespace"] == [2]
    assert not strip or len(actual["train"].facts) == 2


@pytest.mark.parametrize(("blank", "advised"), [("a.txt", True), ("b.jsonl", False)])
def test_nothing_is_advised_that_would_strip_none_of_the_documents(tmp_path, blank, advised):
    contents = {"a.txt": b"One.<end>Two.<end>", "b.jsonl": json_lines(["Three."])}
    contents[blank] += b" \n<end>" if blank == "a.txt" else json_lines([" \n"])
    raw = build(tmp_path, contents, separator="<end>")
    actual = audit(raw, 1)
    assert rows(actual["train"])["only_whitespace"] == [2 if advised else 3]
    assert (advice(raw, actual) != "") == advised


# --- as slow loops have it ---


@given(st.lists(texts, min_size=1, max_size=8), st.lists(texts, min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_every_figure_and_row_is_the_slow_one(tmp_path_factory, train, validation):
    splits = {"train": train, "validation": validation}
    actual = audit_of(tmp_path_factory.mktemp("audit"), *splits.values(), block_bytes=40)
    assert_slow(actual, splits)


@pytest.mark.parametrize("options", [{"workers": 1}, {"workers": 5}, {"block_bytes": 50}])
def test_nothing_found_depends_on_workers_or_block_size(tmp_path, options):
    train = [*NASTY, *stories(1, "train", 60), *NASTY, "Timâ€™s"]
    splits = {"train": train, "validation": [*NASTY[3:], train[20]]}
    assert_slow(audit_of(tmp_path, *splits.values(), **options), splits)


@pytest.mark.skipif(not EXCERPT.is_dir(), reason="needs ../shared/tinystories")
def test_every_figure_of_the_real_excerpt_is_the_slow_one(tmp_path):
    contents = {name: (EXCERPT / name).read_bytes() for (name,) in FILES.values()}
    splits = {
        split: [json.loads(line)["text"] for line in contents[name].decode().split("\n") if line]
        for split, (name,) in FILES.items()
    }
    actual = audit(build(tmp_path, contents, files=FILES), 2)
    assert actual["train"].rows["mojibake"].size
    assert_slow(actual, splits)


def test_words_are_parted_at_every_whitespace_of_unicode_and_at_nothing_else():
    assert sorted(WIDE_SPACES) == [space for space in SPACES if ord(space) > 127]
    every = [chr(code) for code in range(sys.maxunicode) if not 0xD800 <= code < 0xE000]
    for start in range(0, len(every), 2**16):
        between = "a".join(every[start : start + 2**16])
        parts = [between[:1000], "", between[1000:]]
        assert words(block(parts)).tolist() == [len(part.split()) for part in parts]


def test_rows_are_numbered_through_all_files_of_a_split(tmp_path):
    contents = {"a.jsonl": json_lines(["One.", "Two"]), "b.jsonl": json_lines(["Three.", "One."])}
    (actual,) = audit(build(tmp_path, contents), 1).values()
    assert rows(actual)["unfinished"] == [1] and rows(actual)["duplicates"] == [3]
    assert set(actual.rows) == {*FAULTS, "duplicates"}
    assert all(of.dtype == np.int64 for of in actual.rows.values())


def test_text_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"source\.json not found"):
        audit(tmp_path, 1)


@pytest.mark.parametrize("flip", [0, 40, -1])
def test_facts_are_read_as_they_were_written_or_not_at_all(tmp_path, flip):
    facts = {split: of.facts for split, of in audit_of(tmp_path, ["One.", ""], ["Two."]).items()}
    (folder := tmp_path / "facts").mkdir()
    write_facts(folder, facts)
    again = read_facts(folder)
    assert {split: of.tobytes() for split, of in again.items()} == {
        split: of.tobytes() for split, of in facts.items()
    }
    content = bytearray((folder / "train.facts").read_bytes())
    content[flip] ^= 1
    (folder / "train.facts").write_bytes(content)
    with pytest.raises(UserError, match=f"train.facts is not as facts.json says; `rm -r {folder}`"):
        read_facts(folder)


def test_facts_by_processes_are_those_of_threads(tmp_path):
    train, validation = [*NASTY, *stories(1, "train", 300)], ["", "Timâ€™s"]
    contents = {"train.jsonl": json_lines(train), "validation.jsonl": json_lines(validation)}
    raw = build(tmp_path, contents, files=FILES)
    with facts_by_workers(2, WORKER) as make:
        actual = audit(raw, 2, 900, make)
    assert_slow(actual, {"train": train, "validation": validation})


def test_a_worker_that_is_killed_is_an_error_and_none_is_left(tmp_path):
    before = {*psutil.Process().children()}
    with (
        pytest.raises(RuntimeError, match="a worker ended with -9"),
        facts_by_workers(1, WORKER) as make,
    ):
        (worker,) = {*psutil.Process().children()} - before
        assert make(block(["One."])).tolist() == facts_of_block(block(["One."])).tolist()
        worker.kill()
        make(block(["One."]))
    assert not worker.is_running()


def test_a_worker_ends_with_the_process_that_started_it(tmp_path):
    started = "import time; from scripts.audit import WORKER, facts_by_workers as f\n"
    started += "with f(1, WORKER): print(flush=True); time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", started], cwd=ROOT, stdout=subprocess.PIPE)
    parent.stdout.readline()
    (worker,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.communicate()
    worker.wait(timeout=20)


@pytest.mark.parametrize("same", [0, 1])  # which half of the hash all have in common
def test_texts_whose_hashes_agree_in_one_half_are_no_copies(same):
    facts = np.zeros(6, FACTS)
    facts["bytes"] = 1
    drawn = np.zeros((6, 2), "<u8")
    drawn[:, 1 - same] = [3, 1, 3, 2, 1, 0]
    facts["hash"] = drawn.view("V16").ravel()
    numbers = numbered({"train": facts[:4], "validation": facts[4:]})
    together = np.concatenate([numbers["train"], numbers["validation"]])
    assert [[int(a == b) for a in together] for b in together] == [
        [int(a == b) for a in drawn.tolist()] for b in drawn.tolist()
    ]
    assert repeated(numbers["train"]).tolist() == [2]
    assert in_other(numbers["train"], numbers["validation"]).tolist() == [1]
