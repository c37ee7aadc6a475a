"""Facts about params.yaml: one line changes and no other byte; what cannot be meant is said."""

from pathlib import Path

import pytest
import yaml

from slm.core.errors import UserError
from slm.core.params import choice, chosen, dataset_of, read_params, set_dataset, set_values
from tests.helpers import one_line

ROOT = Path(__file__).parents[2]
PLAIN = """# comment: dataset: no
dataset: sample   # the one, dataset: really

datasets:
  sample: {kind: generated, seed: 1, documents: {train: 5}}
  dataset: {kind: files, files: {train: "*.txt"}}
  my-own_2: {kind: files, files: {train: "*.txt"}}
  dataset: &x
    kind: files   # dataset: y
    files: {train: "a"}
"""


def written(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "params.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(call, *args) -> str:
    with pytest.raises(UserError) as error:
        call(*args)
    return one_line(error)


# ---- one line ----


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode(),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("# the one", "# curly “quotes” 😊").encode(),
        PLAIN.rstrip("\n").encode(),
        b"dataset: sample",
        (ROOT / "params.yaml").read_bytes(),
    ],
)
def test_one_line_changes_and_there_and_back_is_the_same_file(tmp_path, content):
    path = written(tmp_path, content)
    before = content.split(b"\n")
    now = next(line for line in before if line.startswith(b"dataset:")).split()[1].decode()
    set_dataset(path, "my-own_2")
    after = path.read_bytes().split(b"\n")
    changed = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    assert len(changed) == 1
    assert changed[0][1] == changed[0][0].replace(now.encode(), b"my-own_2", 1)
    set_dataset(path, now)
    assert path.read_bytes() == content
    assert [left.name for left in tmp_path.iterdir()] == ["params.yaml"]


def test_the_name_that_stands_there_leaves_the_file_alone(tmp_path):
    path = written(tmp_path, PLAIN)
    before = path.stat()
    set_dataset(path, "sample")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("quote", ['"', "'"])
def test_a_name_in_quotes_is_replaced_whole(tmp_path, quote):
    path = written(tmp_path, PLAIN.replace("sample ", f"{quote}sample{quote} "))
    set_dataset(path, "my-own_2")
    assert yaml.safe_load(path.read_text())["dataset"] == "my-own_2"


@pytest.mark.parametrize(
    "content", ["", "# dataset: x\n", "datasets: {}\n", "dataset: [x]\n", "dataset:\tx: y\n"]
)
def test_no_such_value_is_said_and_nothing_is_written(tmp_path, content):
    path = written(tmp_path, content)
    assert "params.yaml" in refused(set_dataset, path, "my-own_2")
    assert path.read_text() == content


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("bins:\n  end_of_text: none\n", "null"),  # a word that YAML reads as another value
        ("bins:\n  end_of_text: &a none\nother: *a\n", "append"),  # `other` would lose its value
    ],
)
def test_a_value_that_would_be_read_otherwise_or_change_another_is_refused(
    tmp_path, content, value
):
    path = written(tmp_path, content)
    assert "params.yaml cannot " in refused(set_values, path, {"bins.end_of_text": value})
    assert path.read_text() == content


@pytest.mark.parametrize("content", ["dataset:\n  sample # x\n", "dataset:   # x\n", "dataset:"])
def test_a_value_on_another_line_or_none_yet_is_set(tmp_path, content):
    path = written(tmp_path, content)
    set_dataset(path, "my-own_2")
    assert yaml.safe_load(path.read_text()) == {"dataset": "my-own_2"}
    assert path.read_text().count("# x") == content.count("# x")


# ---- names ----


@pytest.mark.parametrize(
    "name", ["nope", "", "../x", "a b", "Sample", "prebuilt", "é", "a/b", "a\n", "sample\n", "."]
)
def test_a_name_that_is_unknown_or_no_folder_s_name_is_refused(tmp_path, name):
    content = {"dataset": name, "datasets": {"sample": {"kind": "generated"}}}
    path = written(tmp_path, yaml.safe_dump(content))
    assert repr(name) in refused(chosen, read_params(path), [])
    content["datasets"][name] = {"kind": "files", "files": {}}
    if name != "nope":
        assert repr(name) in refused(chosen, content, [name])
        assert repr(name) in refused(dataset_of, content, name)


@pytest.mark.parametrize(
    "name",
    [
        "null",
        "true",
        "no",
        "on",
        "y",
        "7",
        "0x1f",
        "1_000",
        "~",
        "1e3",
        "0o17",
        "12e03",
        "-x",
        "--help",
        "_",
    ],
)
def test_a_name_that_yaml_reads_as_something_else_is_refused(tmp_path, name):
    # `make data DATASET=null` would write `dataset: null`, which is no name any more.
    entries = {"sample": {"kind": "generated"}, name: {"kind": "files", "files": {}}}
    refused(dataset_of, {"dataset": "sample", "datasets": entries}, name)


def test_an_unknown_name_is_refused_beside_names_that_are_numbers():
    entry = {"kind": "files", "files": {}}
    message = refused(dataset_of, {"dataset": "a", "datasets": {"a": entry, 2024: entry}}, "2024")
    assert "'2024'" in message


# ---- what is not params.yaml ----


@pytest.mark.parametrize(
    "content",
    [
        "",
        "just text",
        "dataset: [",
        "a: b: c",
        "\tdataset: x",
        "dataset: x\ndataset",
        "dataset: x",
        "datasets: {x: {}}",
        "dataset: x\ndatasets:",
        "dataset: x\ndatasets: 3",
        "dataset: [x]\ndatasets: {x: {}}",
        "dataset: {x: 1}\ndatasets: {x: {}}",
        "dataset: 7\ndatasets: {7: {}}",
        "dataset:\ndatasets: {x: {}}",
        "- dataset",
        "dataset: x\ndatasets: [x]",
        "dataset: x\ndatasets: xyz",
        "dataset: x\ndatasets: {x: {}, x: {}}",
        "dataset: !!python/object/apply:os.getcwd []",
        "dataset: &a [*a]",
        "dataset: x\x00",
        b"dataset: caf\xe9\n",
        b"\xff\xfe",
    ],
)
def test_what_is_not_params_yaml_is_refused_in_one_line(tmp_path, content):
    assert "params.yaml" in refused(read_params, written(tmp_path, content))


def test_a_missing_file_says_where_to_stand(tmp_path):
    assert "root of the repository" in refused(read_params, tmp_path / "params.yaml")


def test_our_own_params_are_well():
    params = read_params(ROOT / "params.yaml")
    assert {dataset_of(params, name)["kind"] for name in params["datasets"]} >= {"generated"}
    assert choice(params, "tokenizer", "engine", ("gigatoken", "tiktoken"))


# ---- entries and choices ----

STORIES = {"kind": "generated", "seed": 1, "documents": {"train": 1}}
FILES = {"kind": "files", "files": {"train": "*.txt"}}
HUB = {"kind": "hub", "path": "a/b", "revision": "main", "column": "text", "splits": ["train"]}


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (None, "datasets.x.kind is None"),
        ("files", "datasets.x.kind is 'files'"),
        ([], "datasets.x.kind is []"),
        ({}, "datasets.x.kind is None"),
        ({"kind": "file"}, "datasets.x.kind is 'file', expected one of"),
        ({"kind": ["files"]}, "datasets.x.kind is ['files']"),
        ({"kind": "files"}, "datasets.x has no files"),
        ({"kind": "generated"}, "datasets.x has no seed, documents"),
        ({"kind": "generated", "seed": 1}, "datasets.x has no documents"),
        ({**STORIES, "sede": 3}, "datasets.x has 'sede', expected seed, documents"),
        *(({**STORIES, "seed": seed}, "seed is") for seed in (None, "1", 1.5, True, [1])),
        *(
            ({**STORIES, "documents": {"train": n}}, "documents is")
            for n in (0, -1, "5", 5.5, True)
        ),
        *(({**STORIES, "documents": n}, "documents is") for n in (None, {}, 5, {1: 5}, {"A": 5})),
        *(
            ({**FILES, "files": f}, "files is")
            for f in (None, {}, "a", {"train": [1]}, {"train": []})
        ),
        *(({**FILES, "separator": s}, "separator is") for s in (0, "", [], "\ud800")),
        *(({**FILES, "column": c}, "column is") for c in (0, "", ["a"], "\ud800")),
        *(({**HUB, "splits": s}, "splits is") for s in (None, [], "train", {"train": 1}, [1])),
        ({**HUB, "revision": 7}, "revision is 7, expected text"),
        ({**HUB, "rows": {"trian": 5}}, "rows is of trian, which `splits` does not name"),
        ({**HUB, "files": {"trian": "*"}}, "files is of trian, which `splits` does not name"),
    ],
)
def test_an_entry_that_cannot_be_built_is_refused(entry, says):
    assert says in refused(dataset_of, {"dataset": "x", "datasets": {"x": entry}}, "x")


@pytest.mark.parametrize("entry", [STORIES, FILES, HUB, {**FILES, "separator": None}])
def test_an_entry_that_can_be_built_is_given_back(entry):
    assert dataset_of({"dataset": "x", "datasets": {"x": entry}}, "x") == entry


def test_one_dataset_at_most_can_be_named():
    params = {"dataset": "x", "datasets": {"x": {}, "y": {}}}
    assert (chosen(params, []), chosen(params, ["y"])) == ("x", "y")
    assert "'x y'" in refused(chosen, params, ["x", "y"])


def test_a_choice_is_one_of_those_allowed():
    assert choice({"bins": {"end_of_text": "none"}}, "bins", "end_of_text", ("none",)) == "none"


@pytest.mark.parametrize(
    "section", [None, {}, {"key": None}, {"key": "c"}, {"key": ["a"]}, {"key": True}, "a", ["a"], 3]
)
def test_another_choice_is_refused_with_those_allowed(section):
    message = refused(choice, {"section": section}, "section", "key", ("a", "b"))
    assert "section.key" in message
    assert "a, b" in message
    assert "a, b" in refused(choice, {}, "section", "key", ("a", "b"))
