"""Facts about where text stands: in Arrow files, in a field of a field, beside any depth."""

import gzip
import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest

from slm.core.errors import UserError
from tests.helpers import NASTY, build, one_line, parquet, texts_of

DEPTHS = (1_000, 2_000, 100_000)


def nested(texts: list[str]) -> bytes:
    rows = [{"id": i, "meta": {"deep": {"text": text}, "x": 1}} for i, text in enumerate(texts)]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def struct_of(texts: list) -> pa.Array:
    return pa.array([{"deep": {"text": text}, "x": 1} for text in texts])


def arrow(values: pa.Array, stream: bool = True, rows: int = 3, name: str = "text") -> bytes:
    """An Arrow stream, or file, in batches of `rows`."""
    table = pa.table({"id": range(len(values)), name: values})
    sink = pa.BufferOutputStream()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table.schema) as out:
        out.write_table(table, max_chunksize=rows)
    return sink.getvalue().to_pybytes()


def nested_parquet(texts: list) -> bytes:
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(pa.table({"id": range(len(texts)), "meta": struct_of(texts)}), sink)
    return sink.getvalue().to_pybytes()


def saved(folder: Path, texts: list[str], shards: int = 2) -> None:
    """A folder as `datasets` saves it."""
    rows = datasets.Dataset.from_dict({"id": [*range(len(texts))], "text": texts})
    rows.save_to_disk(folder, num_shards=shards)


def refusal(tmp_path: Path, contents: dict, **entry) -> str:
    with pytest.raises(UserError) as error:
        texts_of(build(tmp_path, contents, **entry))
    return one_line(error)


# ---- Arrow, and folders that `datasets` saved ----


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_an_arrow_file_is_read_in_either_form(tmp_path, stream, kind):
    raw = build(tmp_path, {"a.arrow": arrow(pa.array(NASTY, kind), stream)})
    assert texts_of(raw) == texts_of(raw, block_bytes=1) == NASTY


@pytest.mark.parametrize("shards", [1, 2, 12])
def test_a_saved_folder_is_named_like_a_file(tmp_path, shards):
    saved(tmp_path / "source/saved/train", NASTY, shards)
    raw = build(tmp_path, {"b.jsonl": b'{"text": "last"}\n'}, ["saved/train", "b.jsonl"])
    assert texts_of(raw) == [*NASTY, "last"]


def test_a_saved_folder_keeps_the_order_of_its_state(tmp_path):
    saved(tmp_path / "source/saved", NASTY, 2)
    state = tmp_path / "source/saved/state.json"
    content = json.loads(state.read_text())
    content["_data_files"].reverse()
    state.write_text(json.dumps(content))
    assert texts_of(build(tmp_path, {}, "saved")) == NASTY[7:] + NASTY[:7]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"_data_files": [{"filename": "../../a.arrow"}]}, "not in that folder"),
        ({"_data_files": [{"filename": "gone.arrow"}]}, "not in that folder"),
        ({"_data_files": [3]}, "does not name its files"),
        ({}, "does not name its files"),
        ({"_data_files": [], "_indices_data_files": [1]}, "saved with indices"),
    ],
)
def test_a_saved_folder_that_names_other_files_is_refused(tmp_path, wrong, says):
    saved(tmp_path / "source/saved", NASTY)
    (tmp_path / "source/saved/state.json").write_text(json.dumps(wrong))
    assert says in refusal(tmp_path, {"a.arrow": arrow(pa.array(NASTY))}, train="saved")


def test_a_folder_of_several_splits_asks_for_one(tmp_path):
    rows = datasets.Dataset.from_dict({"text": NASTY})
    datasets.DatasetDict(train=rows).save_to_disk(tmp_path / "source/saved")
    assert "name one, such as saved/train" in refusal(tmp_path, {}, train="saved")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("left_out", [1, 8, 9, 400])
def test_an_arrow_file_that_is_cut_off_is_refused(tmp_path, stream, left_out):
    content = arrow(pa.array(["abc" * 50] * 50), stream)[:-left_out]
    assert "a.arrow" in refusal(tmp_path, {"a.arrow": content})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (arrow(pa.array([1, 2])), "holds int64, expected string"),
        (arrow(pa.array(["a"]), name="story"), "has no column 'text', only 'id', 'story'"),
        (arrow(pa.array(["a", None])), "row 2 of a.arrow is null"),
        (b"", "a.arrow"),
        (b"garbage" * 100, "cannot be read as Arrow"),
    ],
)
def test_a_wrong_arrow_file_is_one_line(tmp_path, content, says):
    assert says in refusal(tmp_path, {"a.arrow": content})


# ---- a field of a field ----


def test_a_path_is_read_in_every_kind(tmp_path):
    array = b"[" + b",".join(nested(NASTY).splitlines()) + b"]"
    files = {
        "a.jsonl": nested(NASTY),
        "b.jsonl.gz": gzip.compress(nested(NASTY)),
        "c.json": array,
        "d.parquet": nested_parquet(NASTY),
        "e.arrow": arrow(struct_of(NASTY), name="meta"),
    }
    assert texts_of(build(tmp_path, files, column="meta.deep.text")) == NASTY * 5


def test_a_literal_name_comes_before_a_path(tmp_path):
    row = {"meta.text": "literal", "meta": {"text": "path"}}
    table = pa.table({"meta": [row["meta"]], "meta.text": [row["meta.text"]]})
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(table, sink)
    files = {
        "a.jsonl": json.dumps(row).encode(),
        "b.json": json.dumps([row]).encode(),
        "c.parquet": sink.getvalue().to_pybytes(),
        "d.csv": b"meta.text\nliteral\n",
    }
    assert texts_of(build(tmp_path, files, column="meta.text")) == ["literal"] * 4


@pytest.mark.parametrize("column", ["meta.other", "meta.x.text", "other.text", "meta."])
def test_a_path_to_nothing_names_what_there_is(tmp_path, column):
    for number, (name, content) in enumerate(
        {
            "a.jsonl": nested(["a"]),
            "a.parquet": nested_parquet(["a"]),
            "a.arrow": arrow(struct_of(["a"]), name="meta"),
        }.items()
    ):
        message = refusal(tmp_path / str(number), {name: content}, column=column)
        assert f"has no column {column!r}, only 'id', 'meta'; name the one" in message


@pytest.mark.parametrize("struct", [{"deep": None}, {"deep": {"text": None}}, None])
def test_a_null_on_the_way_is_no_text(tmp_path, struct):
    values = pa.array([{"deep": {"text": "a"}}, struct])
    files = {"a.arrow": arrow(values, name="meta")}
    assert "row 2 of a.arrow is null" in refusal(tmp_path, files, column="meta.deep.text")


# ---- depth, and pages ----


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("column", ["text", "meta.deep.text"])
@pytest.mark.parametrize("number", [b"1", b"NaN"])
def test_any_depth_may_stand_beside_the_text(tmp_path, depth, column, number):
    text = b'"meta": {"deep": {"text": "\\u00e9"}}' if "." in column else b'"text": "\\u00e9"'
    line = b'{"id": ' + number + b', "more": ' + b"[" * depth + b"]" * depth + b", " + text + b"}\n"
    assert texts_of(build(tmp_path, {"a.jsonl": line * 2}, column=column)) == ["é", "é"]


@pytest.mark.parametrize(
    "text", [b'"text": "\\ud800"', b'"other": 1', b'"text": "a"} {"text": "b"', b'"text": 3']
)
def test_a_deep_row_is_no_excuse(tmp_path, text):
    line = b'{"more": ' + b"[" * 2000 + b"]" * 2000 + b", " + text + b"}\n"
    assert "row 2 of a.jsonl" in refusal(tmp_path, {"a.jsonl": b'{"text": "a"}\n' + line})


def test_an_array_that_is_too_deep_says_so(tmp_path):
    content = b'[{"text": "a"}, {"m": ' + b"[" * 10**6 + b"]" * 10**6 + b"}]"
    assert "row 2 of a.json nests too deeply" in refusal(tmp_path, {"a.json": content})


@pytest.mark.parametrize("codec", ["zstd", "gzip", "lz4", "brotli", "snappy", "none"])
def test_parquet_is_read_however_its_pages_are_packed(tmp_path, codec):
    assert texts_of(build(tmp_path, {"a.parquet": parquet(NASTY, compression=codec)})) == NASTY


def test_a_saved_folder_without_its_data_is_refused(tmp_path):
    saved(tmp_path / "source/saved", NASTY)
    for file in (tmp_path / "source/saved").glob("*.arrow"):
        file.unlink()
    assert "not in that folder" in refusal(tmp_path, {}, train="saved")
