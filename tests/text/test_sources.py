"""Facts about files of the user's own: every document once, in order, byte for byte, or why not."""

import gzip
import io
import json
import os
import random
import re
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm.core.errors import UserError
from slm.text.arrays import texts as array_texts
from slm.text.corpus import make_raw
from slm.text.finding import check_source, find_files
from slm.text.json_lines import _lines
from slm.text.raw import PART_BYTES, locate, read_source
from slm.text.taking import _pieces
from tests.helpers import (
    NASTY,
    array,
    as_kind,
    build,
    comma_separated,
    json_lines,
    one_line,
    parquet,
    raw_strings,
    texts_of,
    zstd,
)

KINDS = (".parquet", ".jsonl", ".jsonl.gz")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
GOOD = b'{"text": "well"}\n'


def files_of(raw: Path, split: str = "train") -> list[dict]:
    return read_source(raw)["splits"][split]["files"]


def names_of(raw: Path, split: str = "train") -> list[str]:
    return [file["name"] for file in files_of(raw, split)]


# ---- every document, once, in order ----


@pytest.mark.parametrize("kind", KINDS)
def test_nasty_text_survives_byte_for_byte(tmp_path, kind):
    raw = build(tmp_path, {f"a{kind}": as_kind(kind, NASTY)})
    for block_bytes in (1, 7, 10**6):
        assert texts_of(raw, block_bytes=block_bytes) == NASTY


@pytest.mark.parametrize("text", NASTY)
def test_a_txt_file_is_one_document_byte_for_byte(tmp_path, text):
    raw = build(tmp_path, {"a.txt": text.encode()})
    assert texts_of(raw) == [text.removeprefix("\ufeff")]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_shards_and_row_groups_are_read_end_to_end(tmp_path, kind):
    texts = [f"{number} {'x' * (number % 7)}" for number in range(100)]
    files = {
        f"train-{i}.parquet": parquet(texts[i * 25 : i * 25 + 25], kind, rows=i + 1)
        for i in range(4)
    }
    raw = build(tmp_path, files, "train-*.parquet")
    assert texts_of(raw) == texts_of(raw, block_bytes=1) == texts
    assert [file["rows"] for file in files_of(raw)] == [25] * 4


def test_kinds_mix_in_the_order_of_the_patterns(tmp_path):
    files = {
        "1.txt": b"one",
        "2.jsonl": json_lines(["two", ""]),
        "3.txt": b"three",
        "4.txt": b"",
        "5.parquet": parquet(["", "five"]),
        "6.jsonl.gz": gzip.compress(json_lines(["six"])),
    }
    raw = build(tmp_path, files)
    assert texts_of(raw) == ["one", "two", "", "three", "", "", "five", "six"]
    named = [locate(files_of(raw), document) for document in range(8)]
    assert named == [
        "row 1 of 1.txt",
        "row 1 of 2.jsonl",
        "row 2 of 2.jsonl",
        "row 1 of 3.txt",
        "row 1 of 4.txt",
        "row 1 of 5.parquet",
        "row 2 of 5.parquet",
        "row 1 of 6.jsonl.gz",
    ]


def test_files_without_rows_are_passed_over(tmp_path):
    files = {
        "a.jsonl": b"",
        "b.parquet": parquet([]),
        "c.jsonl.gz": gzip.compress(b""),
        "d.jsonl": json_lines(["here"]),
        "e.parquet": parquet([]),
    }
    raw = build(tmp_path, files)
    assert texts_of(raw) == ["here"]
    assert locate(files_of(raw), 0) == "row 1 of d.jsonl"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_last_line_needs_no_line_feed(tmp_path, pack):
    name = "a.jsonl" if pack is bytes else "a.jsonl.gz"
    raw = build(tmp_path, {name: pack(json_lines(["a", "b"])[:-1])})
    assert texts_of(raw) == ["a", "b"]
    assert texts_of(raw, block_bytes=1) == ["a", "b"]


def test_lines_may_end_in_crlf(tmp_path):
    raw = build(tmp_path, {"a.jsonl": json_lines(["a\r", "b"]).replace(b"\n", b"\r\n")})
    assert texts_of(raw) == ["a\r", "b"]


def test_gzip_of_several_members_is_read_to_the_end(tmp_path):
    members = json_lines(["a"]), json_lines(["b", "c"])[:20], json_lines(["b", "c"])[20:]
    raw = build(tmp_path, {"a.jsonl.gz": b"".join(map(gzip.compress, members))})
    assert texts_of(raw) == ["a", "b", "c"]


def test_another_column_can_be_named(tmp_path):
    files = {"a.jsonl": json_lines(["a"], "sto ry"), "b.txt": b"b"}
    assert texts_of(build(tmp_path, files, column="sto ry")) == ["a", "b"]


@given(
    documents=st.lists(st.text(max_size=30), min_size=1, max_size=12),
    cut=st.integers(0, 12),
    block_bytes=st.integers(1, 80),
    kind=st.sampled_from(KINDS),
)
@settings(max_examples=150, deadline=None)
def test_block_size_never_changes_documents(documents, cut, block_bytes, kind):
    with tempfile.TemporaryDirectory() as folder:
        parts = documents[:cut], documents[cut:]
        files = {f"{i}{kind}": as_kind(kind, part) for i, part in enumerate(parts)}
        raw = build(Path(folder), files)
        assert texts_of(raw, block_bytes=block_bytes) == documents


# ---- the separator of .txt ----


@pytest.mark.parametrize(
    ("content", "documents"),
    [("a|b", ["a", "b"]), ("a|b|", ["a", "b"]), ("|", [""]), ("a||", ["a", ""]), ("|a", ["", "a"])],
)
def test_a_separator_ends_per_document(tmp_path, content, documents):
    raw = build(tmp_path, {"a.txt": content.encode(), "b.txt": b"last"}, separator="|")
    assert texts_of(raw) == [*documents, "last"]
    assert locate(files_of(raw), len(documents)) == "row 1 of b.txt"


@pytest.mark.parametrize("shift", range(-2, 8))
def test_a_separator_may_lie_over_the_border_of_two_parts(tmp_path, shift):
    first = "é" + "x" * (PART_BYTES - shift - 2)
    content = f"{first}--—\nsecond--—\n{first}--—\n"
    raw = build(tmp_path, {"a.txt": content.encode()}, separator="--—\n")
    assert texts_of(raw) == [first, "second", first]


@pytest.mark.parametrize("separator", [None, "<|no such text|>"])
def test_a_document_of_many_parts_is_read_in_one_pass(separator):
    start = time.process_time()
    assert [*_pieces([b"x" * PART_BYTES] * 64, separator)] == [b"x" * PART_BYTES * 64]
    assert time.process_time() - start < 1  # 0.1; where each part copies those before it, 2


def test_a_line_of_many_parts_is_read_in_one_pass():
    start, line = time.process_time(), b"x" * PART_BYTES * 64
    assert [*_lines(io.BytesIO(line), PART_BYTES)] == [[line]]
    assert time.process_time() - start < 1


# ---- which files ----


def test_globs_give_a_stable_order_and_each_file_once(tmp_path):
    names = [f"{letter}{i}.jsonl" for letter in "ab" for i in (1, 10, 2)]
    for name in random.Random(1).sample(names, len(names)):
        (tmp_path / name).write_bytes(GOOD)
    found = find_files(tmp_path, ["b*.jsonl", "a1*.jsonl", "*.jsonl"])
    assert found == [*sorted(names)[3:], "a1.jsonl", "a10.jsonl", "a2.jsonl"]


@pytest.mark.parametrize("other", ["*.jsonl", "./a.jsonl", ".//a.jsonl", "**/a.jsonl"])
def test_a_file_is_taken_once_however_it_is_written(tmp_path, other):
    raw = build(tmp_path, {"a.jsonl": GOOD}, ["a.jsonl", other])
    assert names_of(raw) == ["a.jsonl"]


@pytest.mark.parametrize("other", ["a.jsonl", "./a.jsonl", "*/../a.jsonl"])
def test_a_file_in_two_splits_is_refused(tmp_path, other):
    splits = {"train": ["*.jsonl"], "validation": [other]}
    with pytest.raises(UserError) as error:
        build(tmp_path, {"a.jsonl": GOOD, "b/c.jsonl": GOOD}, files=splits)
    assert "a.jsonl" in one_line(error)


def test_a_link_to_a_folder_is_a_source(tmp_path):
    (tmp_path / "there" / "deep").mkdir(parents=True)
    (tmp_path / "there" / "a.jsonl").write_bytes(json_lines(["a"]))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.jsonl").write_bytes(json_lines(["b"]))
    (tmp_path / "there" / "deep" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "source").symlink_to("there")
    assert texts_of(build(tmp_path, {}, ["a.jsonl", "**/*.jsonl"])) == ["a", "b"]


def test_a_link_to_nothing_is_refused_and_not_passed_over(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "b.jsonl").symlink_to("gone")
    with pytest.raises(UserError) as error:
        build(tmp_path, {"a.jsonl": GOOD}, "*.jsonl")
    assert "b.jsonl" in one_line(error)


def test_source_json_does_not_depend_on_where_the_source_lies(tmp_path):
    made = [build(tmp_path / place, {"a.jsonl": GOOD, "b.txt": b"b"}) for place in "xy"]
    contents = [(raw / "source.json").read_bytes() for raw in made]
    assert contents[0] == contents[1]
    assert str(tmp_path).encode() not in contents[0]


def test_a_file_name_never_chooses_where_we_write(tmp_path):
    names = ["a b'\"$(x);\n.txt", "x..txt", "c\\..\\..\\x.jsonl", "é\u2028.jsonl", "-rf.jsonl"]
    raw = build(tmp_path / "in", dict.fromkeys(names, GOOD), "*")
    assert {path.name for path in tmp_path.iterdir()} == {"in"}
    assert {path.name for path in (tmp_path / "in").iterdir()} == {"source", "raw"}
    made = sorted(path.name for path in raw.iterdir())
    assert made == ["source.json", *(f"train-{i:05d}-of-00005.jsonl" for i in range(5))]
    assert sorted(names_of(raw)) == sorted(names)


@pytest.mark.parametrize("kind", ["files", "generated"])
@pytest.mark.parametrize("split", ["../../x", "", "Train", "a b", "a\n", "x/y", 1, None])
def test_a_split_that_cannot_name_a_file_is_refused_and_nothing_is_written(tmp_path, kind, split):
    for name in ("in/source", "in/raw"):
        (tmp_path / name).mkdir(parents=True)
    key, value = ("files", ["a.jsonl"]) if kind == "files" else ("documents", 3)
    entry = {"kind": kind, key: {split: value}, **({} if kind == "files" else {"seed": 1})}
    (tmp_path / "in/source/a.jsonl").write_bytes(GOOD)
    with pytest.raises(UserError) as error:
        make_raw("mine", entry, tmp_path / "in/source", tmp_path / "in/raw")
    assert repr(split) in one_line(error)
    assert {path.name for path in tmp_path.iterdir()} == {"in"}
    assert not list((tmp_path / "in" / "raw").iterdir())


# ---- faults: one line, with file and row ----

FLIPPED = bytearray(parquet([f"{number:05d}" * 50 for number in range(3000)], rows=1000))
FLIPPED[len(FLIPPED) // 2 : len(FLIPPED) // 2 + 200] = b"\xff" * 200
LINES = {  # second line of a.jsonl: what the message holds
    b"{": "is not JSON",
    b"": "is empty",
    b" \r": "is empty",
    b"text": "is not JSON",
    b'{"text": "a"} x': "is not JSON",
    b'{"text": "\xff"}': "is not JSON in valid Unicode",
    b'{"text": "\xed\xa0\x80"}': "is not JSON in valid Unicode",
    b'{"text": "\\ud800"}': "is not JSON in valid Unicode",
    b'{"text": "\\udc00\\ud800"}': "is not JSON in valid Unicode",
    b'{"text": NaN}': "has NaN in 'text', expected text",
    b'{"x": NaN, "text": "\\ud800"}': "is not JSON in valid Unicode",
    b'{"x": NaN, "text": "a"': "is not JSON in valid Unicode",
    b'{"text": null}': "null in 'text', expected text",
    b'{"text": 17}': "17 in 'text', expected text",
    b'{"text": ["a"]}': "expected text",
    b'{"text": true}': "expected text",
    b'{"text": {"a": "\\n"}}': "expected text",
    b'{"Text": "a"}': "has no column 'text'",
    b"{}": "has no column 'text'",
    b"[]": "is no object with text",
    b"null": "is no object with text",
    b'"text"': "is no object with text",
    b"3": "is no object with text",
}
COLUMNS = {
    "is null": pa.array(["a", None, "c"]),
    "is not UTF-8": raw_strings([b"a", b"caf\xe9", b"c"]),
    "row 2 of a.parquet is not UTF-8": raw_strings([b"a", b"\xed\xa0\x80", b"c"]),
}
UNREADABLE = {
    "garbage.parquet": b"garbage" * 100,
    "empty.parquet": b"",
    "framed.parquet": b"PAR1" + b"\xff" * 100 + b"PAR1",
    "short.parquet": parquet(["a" * 1000])[:-20],
    "half.parquet": parquet(["abc"] * 1000)[:500],
    "flipped.parquet": bytes(FLIPPED),
    "garbage.jsonl.gz": b"garbage" * 100,
    "short.jsonl.gz": gzip.compress(json_lines(["abc"] * 1000))[:-10],
    "header.jsonl.gz": b"\x1f\x8b\x08",
    "tail.jsonl.gz": gzip.compress(GOOD) + b"tail",
    "crc.jsonl.gz": gzip.compress(GOOD)[:-8] + bytes(8),
    "other.parquet": parquet(pa.array([1, 2])),
    "bytes.parquet": parquet([b"a"], pa.binary()),
    "numbers.parquet": parquet(pa.array([1, 2]).dictionary_encode()),
    "pointer.parquet": POINTER,
    "pointer.jsonl": POINTER,
    "pointer.txt": POINTER,
}


def refusal(tmp_path, contents: dict, block_bytes: int = 10**6, **entry) -> str:
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder, pytest.raises(UserError) as error:
        texts_of(build(Path(folder), contents, **entry), block_bytes=block_bytes)
    return one_line(error)


@pytest.mark.parametrize(("line", "says"), LINES.items(), ids=repr)
def test_a_wrong_line_of_json_is_named(tmp_path, line, says):
    content = GOOD + line + b"\n" + GOOD
    for block_bytes in (1, 30, 10**6):
        message = refusal(tmp_path, {"0.txt": b"0", "a.jsonl": content}, block_bytes)
        assert message.startswith("train: row 2 of a.jsonl ")
        assert says in message
        packed = {"a.jsonl.gz": gzip.compress(content)}
        assert "row 2 of a.jsonl.gz" in refusal(tmp_path, packed, block_bytes)


@pytest.mark.parametrize(("says", "column"), COLUMNS.items())
def test_a_wrong_row_of_parquet_is_named(tmp_path, says, column):
    files = {"0.jsonl": GOOD, "a.parquet": parquet(column), "b.parquet": parquet(["b"])}
    for block_bytes in (1, 10**6):
        message = refusal(tmp_path, files, block_bytes)
        assert "row 2 of a.parquet is" in message
        assert says in message


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    for block_bytes in (1000, 10**6):
        files = {"0.jsonl": GOOD, name: UNREADABLE[name]}
        assert name in refusal(tmp_path, files, block_bytes)


def test_a_spoilt_page_is_found_behind_the_good_rows(tmp_path):
    message = refusal(tmp_path, {"a.parquet": bytes(FLIPPED)}, 10_000)
    row = int(message.split("row ")[1].split()[0])
    assert 900 < row <= 2000  # in the second of three row groups, or the batch that leads into it


@pytest.mark.parametrize("separator", [None, "|"])
def test_text_that_is_not_utf8_is_named(tmp_path, separator):
    files = {"a.txt": b"a|b", "b.txt": b"a|caf\xe9|\xe9"}
    row = 2 if separator else 1
    assert f"row {row} of b.txt is not UTF-8" in refusal(tmp_path, files, separator=separator)


def test_a_missing_column_is_named(tmp_path):
    assert "a.parquet has no column 'story', only 'id', 'text'; name" in refusal(
        tmp_path, {"a.parquet": parquet(["a"])}, column="story"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_in_a_later_file_is_counted_from_its_own_first_row(tmp_path, kind):
    files = {f"{i}{kind}": as_kind(kind, [str(i)] * 5) for i in range(3)}
    files["3.jsonl"] = GOOD * 2 + b"\n" + GOOD
    assert "row 3 of 3.jsonl" in refusal(tmp_path, files, 10)


@pytest.mark.parametrize(
    ("train", "says"),
    [
        ("*.parquet", "'*.parquet' matches nothing"),
        (["a.jsonl", "b.jsonl"], "'b.jsonl' matches nothing"),
        ("sub", "'sub' matches nothing"),
        ("", "expected patterns for each split"),
        ("../source/a.jsonl", "'../source/a.jsonl' leaves"),
        ("sub/../../x", "'sub/../../x' leaves"),
        ("/etc/passwd", "'/etc/passwd' leaves"),
        ("*.xml", "a.xml is of no kind"),
        ("noending", "noending is of no kind"),
        ("empty.jsonl", "split train has no documents"),
    ],
)
def test_patterns_that_cannot_be_meant_are_refused(tmp_path, train, says):
    files = {
        "a.jsonl": GOOD,
        "a.xml": b"",
        "noending": b"",
        "empty.jsonl": b"",
        "sub/b.jsonl": GOOD,
    }
    assert says in refusal(tmp_path, files, files={"train": train})


@pytest.mark.parametrize(
    "entry",
    [
        {"files": ["a.jsonl"]},
        {"files": "a.jsonl"},
        {"files": None},
        {"files": {}},
        {"files": {"train": None}},
        {"files": {"train": []}},
        {"files": {"train": [1]}},
        {"separator": 1},
        {"column": 1},
        {"column": None},
    ],
    ids=json.dumps,
)
def test_an_entry_of_the_wrong_shape_is_refused(tmp_path, entry):
    refusal(tmp_path, {"a.jsonl": GOOD, "b.txt": b"b"}, **entry)


def test_names_that_are_not_utf8_are_refused(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "raw").mkdir()
    Path(tmp_path / "source", os.fsdecode(b"\xff.jsonl")).write_bytes(GOOD)
    entry = {"kind": "files", "files": {"train": "*.jsonl"}}
    with pytest.raises(UserError) as error:
        make_raw("mine", entry, tmp_path / "source", tmp_path / "raw")
    one_line(error).encode()


def test_a_column_that_stands_twice_is_refused(tmp_path):
    sink, arrays = io.BytesIO(), [pa.array(["a"]), pa.array(["b"])]
    pq.write_table(pa.Table.from_arrays(arrays, ["text", "text"]), sink)
    assert "a.parquet" in refusal(tmp_path, {"a.parquet": sink.getvalue()})


# ---- what other tools write ----


DICTIONARIES = [pa.dictionary(index, pa.string()) for index in (pa.int8(), pa.int32(), pa.uint16())]


@pytest.mark.parametrize("kind", [
    pa.string_view(), *DICTIONARIES, pa.dictionary(pa.int64(), pa.large_string()),
], ids=str)  # fmt: skip
def test_strings_by_another_arrow_name_are_the_same_strings(tmp_path, kind):
    texts = ["a", "", "a", "é" * 50]
    table = pa.table({"text": pa.array(texts, pa.string()).cast(kind)})
    out = io.BytesIO()
    pq.write_table(table, out)
    raw = build(tmp_path, {"a.parquet": out.getvalue()})
    assert texts_of(raw) == texts_of(raw, block_bytes=1) == texts


ODD = {
    "nan": b'{"x": NaN, "text": "well"}',
    "infinity": b'{"text": "well", "x": [-Infinity, {"y": Infinity}]}',
    "large": b'{"x": 1e400, "text": "well"}',
    "larger": b'{"x": -12345678901234567890E+9999, "text": "well"}',
    "long": b'{"x": ' + b"9" * 5000 + b', "text": "well"}',
}


@pytest.mark.parametrize("line", ODD.values(), ids=ODD)
def test_numbers_that_other_tools_write_are_no_fault_of_the_text(tmp_path, line):
    for kind, pack in ((".jsonl", bytes), (".jsonl.gz", gzip.compress)):
        folder = tmp_path / kind
        folder.mkdir()
        raw = build(folder, {f"a{kind}": pack(GOOD + line + b"\n" + GOOD)})
        assert texts_of(raw) == texts_of(raw, block_bytes=1) == ["well"] * 3


@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n", b"\r\n\r\n", b"  \n\t", b"\n" * 300])
@pytest.mark.parametrize("kind", [".jsonl", ".jsonl.gz"])
def test_blank_lines_at_the_end_are_no_fault(tmp_path, kind, end):
    content = GOOD * 3 + end
    raw = build(tmp_path, {f"a{kind}": gzip.compress(content) if kind != ".jsonl" else content})
    assert texts_of(raw) == texts_of(raw, block_bytes=1) == ["well"] * 3
    assert files_of(raw)[0]["rows"] == 3


@pytest.mark.parametrize("kind", [".txt", ".jsonl", ".jsonl.gz"])
def test_a_byte_order_mark_is_no_text(tmp_path, kind):
    content = b"well" if kind == ".txt" else GOOD
    content = b"\xef\xbb\xbf" + content
    raw = build(tmp_path, {f"a{kind}": gzip.compress(content) if kind == ".jsonl.gz" else content})
    assert texts_of(raw) == texts_of(raw, block_bytes=1) == ["well"]


@pytest.mark.parametrize("name", ["train part [1].jsonl", "a*.jsonl", "what?.jsonl"])
def test_a_name_that_looks_like_a_pattern_is_a_name_first(tmp_path, name):
    files = {name: GOOD, "aa.jsonl": GOOD, "whats.jsonl": GOOD, "train part 1.jsonl": GOOD}
    raw = build(tmp_path, files, name)
    assert names_of(raw) == [name]


@pytest.mark.parametrize("kind", [".parquet", ".jsonl", ".txt"])
def test_a_pointer_of_git_lfs_is_refused_with_the_cure(tmp_path, kind):
    assert "`git lfs pull` brings it" in refusal(tmp_path, {f"a{kind}": POINTER})


def test_a_row_whose_text_has_another_name_says_which_there_are(tmp_path):
    said = refusal(tmp_path, {"a.jsonl": GOOD.replace(b"text", b"content")})
    assert "row 1 of a.jsonl has no column 'text', only 'content'; name the one" in said


@pytest.mark.parametrize("make", [
    lambda path: path.symlink_to("/nowhere"),
    lambda path: path.symlink_to(path.name),
    os.mkfifo,
])  # fmt: skip
def test_what_is_no_file_is_refused_before_dvc_is_asked(tmp_path, make):
    (tmp_path / "sub").mkdir()
    check_source(tmp_path)
    make(tmp_path / "sub" / "b.jsonl")
    with pytest.raises(
        UserError, match=r"b\.jsonl is (no file|a link to nothing); correct or remove"
    ):
        check_source(tmp_path)


# ---- shapes that published corpora have ----


SHAPES = {
    "a.jsonl": json_lines,
    "a.json": json_lines,
    "a.json.gz": lambda texts: gzip.compress(json_lines(texts)),
    "a.jsonl.zst": lambda texts: zstd(json_lines(texts)),
    "two.jsonl.zst": lambda texts: zstd(json_lines(texts[:3])) + zstd(json_lines(texts[3:])),
    "unnamed.jsonl": lambda texts: zstd(json_lines(texts)),  # by content, whatever the name says
    "named.jsonl.gz": json_lines,
    "array.json": array,
    "array.jsonl": array,
    "array.json.gz": lambda texts: gzip.compress(b"\xef\xbb\xbf \n" + array(texts)),
    "array.json.zst": lambda texts: zstd(array(texts)),
}
SHAPES |= {
    "a.csv": comma_separated,
    "a.csv.gz": lambda texts: gzip.compress(b"\xef\xbb\xbf" + comma_separated(texts)),
    "a.csv.zst": lambda texts: zstd(comma_separated(texts)),
}
PLAIN = [text for text in NASTY if not text.startswith("\ufeff")]


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_gives_the_same_documents(tmp_path, name):
    raw = build(tmp_path, {name: SHAPES[name](PLAIN)})
    assert texts_of(raw) == texts_of(raw, block_bytes=1) == PLAIN
    assert files_of(raw)[0]["rows"] == len(PLAIN)
    assert locate(files_of(raw), 2) == f"row 3 of {name}"


def test_shapes_mix_in_one_split(tmp_path):
    files = {f"{i}{name}": shape(PLAIN) for i, (name, shape) in enumerate(SHAPES.items())}
    files["z.parquet"] = parquet(PLAIN)
    assert texts_of(build(tmp_path, files)) == PLAIN * len(files)


@pytest.mark.parametrize(
    "name", [name for name in SHAPES if name not in ("two.jsonl.zst", "a.csv")]
)
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_that_is_cut_off_is_named_whatever_its_shape(tmp_path, name, share):
    rows = 20_000
    content = SHAPES[name]([f"A story of hill {i} and more." for i in range(rows)])
    said = refusal(tmp_path, {name: content[: int(len(content) * share) - 3]})
    row = re.search(r"row (\d+)", said)
    assert name in said and row and rows * (share - 0.3) < int(row[1]) <= rows, said


WRONG_ARRAYS = {
    b'[{"text": "a"}, {"text": "b"': "row 2 of a.json is not JSON, or the array is cut off there",
    b'[{"text": "a"} {"text": "b"}]': "row 2 of a.json is not JSON",
    b'[{"text": "a"},]': "row 2 of a.json is not JSON",
    b'[{"text": "a"}] x': "a.json goes on behind its array",
    b'[{"text": "a"}, 3]': "row 2 of a.json is no object with text",
    b'[{"text": "a"}, {"b": "a"}]': "row 2 of a.json has no column 'text', only 'b'; name the one",
    b'[{"text": "a"}, {"text": 4}]': "row 2 of a.json has 4 in 'text', expected text",
    b'[{"text": "\\ud800"}]': "row 1 of a.json has",
    b'[{"text": "\xff"}]': "a.json is not UTF-8",
    b"[": "row 1 of a.json is not JSON",
    b"[]": "split train has no documents",
}


@pytest.mark.parametrize(("content", "says"), WRONG_ARRAYS.items(), ids=repr)
def test_a_wrong_row_of_an_array_is_named(tmp_path, content, says):
    assert says in refusal(tmp_path, {"a.json": content})


WRONG_TABLES = {
    b"a,b\n1,2\n": "a.csv has no column 'text', only 'a', 'b'; name the one",
    b"A story.,1\nAnother.,2\n": "only 'A story.', '1'; name the one with text",
    b"id,text\n1,a\n2\n": "row 2 of a.csv has 1 cells, its first row 2",
    b"id,text\n1,a\n2,b,c\n": "row 2 of a.csv has 3 cells",
    b'id,text\n1,a\n2,"b\n': "row 2 of a.csv cannot be read as CSV",
    b"id,text\n1,\xff\n": "row 1 of a.csv cannot be read as CSV",
    b"id,text\n": "split train has no documents",
    b"": "split train has no documents",
}


@pytest.mark.parametrize(("content", "says"), WRONG_TABLES.items(), ids=repr)
def test_a_wrong_row_of_csv_is_named(tmp_path, content, says):
    assert says in refusal(tmp_path, {"a.csv": content})


@given(st.lists(st.text()), st.integers(1, 40))
@settings(max_examples=300, deadline=None)
def test_an_array_is_read_whatever_its_parts(texts, size):
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    content = array(texts)
    parts = (content[i : i + size] for i in range(0, len(content), size))
    assert [*array_texts(parts, "text", "a.json")] == texts


# ---- separators with line feeds around them ----


@pytest.mark.parametrize(("text", "plain", "stripped"), [
    ("a\n<|e|>\nb\n<|e|>\n", ["a\n", "\nb\n", "\n"], ["a", "b"]),
    ("\n a \n<|e|>\u2003b\r\n", ["\n a \n", "\u2003b\r\n"], ["a", "b"]),
    ("a<|e|>\n<|e|>b", ["a", "\n", "b"], ["a", "", "b"]),
    ("a\n\nb<|e|>", ["a\n\nb"], ["a\n\nb"]),
])  # fmt: skip
def test_strip_takes_whitespace_off_both_ends_of_each_document(tmp_path, text, plain, stripped):
    for number, (more, wanted) in enumerate((({}, plain), ({"strip": True}, stripped))):
        folder = tmp_path / str(number)
        raw = build(folder, {"a.txt": text.encode()}, separator="<|e|>", **more)
        assert texts_of(raw) == wanted
        assert read_source(raw).get("strip") == more.get("strip")


@pytest.mark.parametrize("value", ["yes", 1, 0])
def test_strip_is_true_or_false(tmp_path, value):
    assert "strip is" in refusal(tmp_path, {"a.txt": b"a"}, separator="-", strip=value)


# ---- text in other encodings, and files that no ending names ----

LATIN = ["Straße, café, “quoted”", "", "naïve — 5 €"]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-16-le", "utf-32", "cp437"])
def test_text_in_another_encoding_is_read_as_it_is_named(tmp_path, encoding):
    texts = [text.replace("“", '"').replace("”", '"').replace("—", "-").replace("€", "E")
             if encoding == "cp437" else text for text in LATIN]  # fmt: skip
    contents = {f"{i}.txt": text.encode(encoding) for i, text in enumerate(texts)}
    contents["3.csv"] = 'id,text\n1,"äöü"\n'.encode(encoding)
    raw = build(tmp_path, contents, encoding=encoding)
    assert texts_of(raw) == [*texts, "äöü"]
    assert read_source(raw)["encoding"] == encoding


@pytest.mark.parametrize("part", [1, 2, 3, 7])
def test_documents_of_another_encoding_are_cut_at_the_separator(tmp_path, monkeypatch, part):
    monkeypatch.setattr("slm.text.raw.PART_BYTES", part)
    content = "äß|<>|€uro|<>|".encode("utf-16")
    raw = build(tmp_path, {"a.txt": content}, encoding="utf-16", separator="|<>|")
    assert texts_of(raw) == ["äß", "€uro"]


def test_all_files_that_are_not_utf8_are_said_at_once(tmp_path):
    contents = {f"{i:03d}.txt": b"caf\xe9" if i % 3 else b"fine" for i in range(30)}
    with pytest.raises(UserError) as error:
        build(tmp_path, contents)
    said = one_line(error)
    assert said.startswith("20 of 30 files are not UTF-8: 001.txt, 002.txt, 004.txt, ")
    assert all(f"{i:03d}.txt" in said for i in range(30) if i % 3)
    assert "row 1 of 001.txt is not UTF-8 ('utf-8' codec can't decode byte 0xe9" in said
    assert "let `encoding:` in params.yaml say what the files are" in said


def test_what_is_not_in_the_named_encoding_is_said(tmp_path):
    with pytest.raises(UserError, match=r"row 1 of a\.txt is not ascii"):
        build(tmp_path, {"a.txt": "é".encode()}, encoding="ascii")
    with pytest.raises(UserError, match=r"row 1 of b\.csv cannot be read as CSV"):
        build(tmp_path / "b", {"b.csv": "text\né\n".encode()}, encoding="ascii")
    with pytest.raises(UserError, match=r"`encoding:` is of \.txt and \.csv, and .*c\.jsonl"):
        build(tmp_path / "c", {"c.jsonl": json_lines(["a"])}, encoding="cp1252")


@pytest.mark.parametrize("encoding", ["klingon", "rot13", "base64", 5])
def test_an_encoding_of_no_text_is_refused(tmp_path, encoding):
    with pytest.raises(UserError, match=r"encoding is .*, expected a text encoding"):
        build(tmp_path, {"a.txt": b"a"}, encoding=encoding)


def test_files_of_no_known_ending_are_text_where_the_entry_says_so(tmp_path):
    contents = {"mail/1.": b"one", "mail/2": b"two", "mail/3.eml": b"three", "mail/4.txt": b"four"}
    with pytest.raises(UserError, match=r"`as: text` in params\.yaml takes it so") as error:
        build(tmp_path / "a", contents, train=["mail/*"])
    assert "mail/1. and 2 more are of no kind that is read here" in one_line(error)
    raw = build(tmp_path / "b", contents, train=["mail/*"], **{"as": "text"})
    assert texts_of(raw) == ["one", "two", "three", "four"]
    with pytest.raises(UserError, match="expected text"):
        build(tmp_path / "c", contents, train=["mail/*"], **{"as": "json"})


def test_room_for_files_of_one_s_own_is_looked_at_first(tmp_path, monkeypatch):
    monkeypatch.setattr("slm.text.hub.room.SMALL", 0)
    texts = {"a.txt": b"word " * 1000}
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=12_499))
    with pytest.raises(UserError, match=r"source needs about 0\.0 MB on the disk of .* free some"):
        build(tmp_path / "small", texts, train="a.txt")
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=12_500))
    build(tmp_path / "large", texts, train="a.txt")
