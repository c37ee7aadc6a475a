"""The entries of params.yaml build what they name, from stand-ins with the hub's names."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from slm.core.entries import check_entry
from slm.core.params import read_params
from slm.text.raw import read_source
from tests.helpers import parquet, texts_of
from tests.hub_faults import FaultyHub
from tests.text.test_hub import fetched, refused
from tests.workspace import ROOT, script

ENTRIES = read_params(ROOT / "params.yaml")["datasets"]
END = "<|endoftext|>"


def rows(name: str, column: str = "text") -> bytes:
    return parquet([f"{name} {i}." for i in range(3)], column=column)


def txt(name: str) -> bytes:
    """The layout of the second generation: line feeds around what ends a story."""
    return "".join(f"\n{name} {i}.\n\nIts end.\n{END}\n" for i in range(3)).encode()


LAYOUTS = {
    "tinystories-v2": {
        "data/train-00000-of-00001.parquet": rows("first generation"),
        "data/validation-00000-of-00001.parquet": rows("first generation"),
        "TinyStoriesV2-GPT4-train.txt": txt("train"),
        "TinyStoriesV2-GPT4-valid.txt": txt("valid"),
    },
    "simplestories": {
        "data/train-00000-of-00002.parquet": rows("a", "story"),
        "data/train-00001-of-00002.parquet": rows("b", "story"),
        "data/test-00000-of-00001.parquet": rows("c", "story"),
    },
}
LAYOUTS["babylm-strict-small"] = {
    **{f"{of}.train.txt": f"{of} one.\n{of} two.\n".encode() for of in ("switchboard", "childes")},
    "data/other.parquet": rows("another form"),
}
for name in ("fineweb-edu-10b", "fineweb-10b"):
    LAYOUTS[name] = {
        "data/CC-MAIN-2013-20/000_00000.parquet": rows("a dump"),
        "sample/100BT/000_00000.parquet": rows("another sample"),
        "sample/10BT/001_00000.parquet": rows("b"),
        "sample/10BT/000_00000.parquet": rows("a"),
    }
EXPECTED = {
    "tinystories-v2": {
        "train": [f"train {i}.\n\nIts end." for i in range(3)],
        "validation": [f"valid {i}.\n\nIts end." for i in range(3)],
    },
    "simplestories": {
        "train": [f"{file} {i}." for file in "ab" for i in range(3)],
        "test": [f"c {i}." for i in range(3)],
    },
    "babylm-strict-small": {
        "train": [f"{of} one.\n{of} two.\n" for of in ("childes", "switchboard")]
    },
    **{
        name: {"train": [f"{file} {i}." for file in "ab" for i in range(3)]}
        for name in ("fineweb-edu-10b", "fineweb-10b")
    },
}


@pytest.fixture(scope="module")
def hub() -> Iterator[FaultyHub]:
    with FaultyHub() as hub:
        for name, files in LAYOUTS.items():
            hub.publish(ENTRIES[name]["path"], files | {"README.md": b"# a card\n"})
        yield hub


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_ready_entry_takes_its_own_files_and_says_its_license(hub, tmp_path, name):
    entry = {**ENTRIES[name], "revision": "main", "rows": None}
    fetched(hub, tmp_path, **entry)
    raw = tmp_path / "data/x/raw"
    assert {split: texts_of(raw, split) for split in EXPECTED[name]} == EXPECTED[name]
    assert read_source(raw).get("license") == entry.get("license")
    assert sorted(read_source(raw)["splits"]) == sorted(entry["splits"])


@pytest.mark.parametrize("number", [5, 7, 9_672_101])
def test_another_number_of_rows_than_is_expected_is_refused(hub, tmp_path, number):
    entry = {**ENTRIES["fineweb-edu-10b"], "revision": "main", "rows": {"train": number}}
    said = refused(hub, tmp_path, **entry)
    assert f"train has 6 rows, `rows` in params.yaml expects {number:,}; correct one" in said


def test_other_bytes_than_are_pinned_are_refused(hub, tmp_path):
    pins = json.loads((ROOT / "data/tinystories-v2/source/pins.json").read_bytes())
    commit = hub.repositories[pins["path"]].refs["main"]
    pins["revision"] = commit
    entry = {**ENTRIES["tinystories-v2"], "revision": commit}
    said = refused(hub, tmp_path, pins=pins, **entry)
    assert "TinyStoriesV2-GPT4-train.txt" in said and "this is not the pinned dataset" in said


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_is_well_formed_and_its_folder_is_there(name):
    entry = check_entry(name, ENTRIES[name])
    assert any((ROOT / "data" / name / "source").iterdir())
    assert entry["kind"] != "hub" or len(entry["revision"]) == 40
    assert "license" in entry or name in ("sample", "babylm-strict-small", "shakespeare")


def test_make_datasets_lists_every_entry_what_it_is_and_what_is_built(small_sample: Path):
    head, *lines, ranks, last = script(small_sample, "list_datasets").splitlines()
    assert ranks == (
        "tokenizer.encoding llama3: its ranks are under the Meta Llama 3 Community License"
    )
    assert head.split() == ["name", "from", "size", "license", "tokens,", "where", "built"]
    known = {line.split()[0]: line for line in lines}
    assert list(known) == list(
        yaml.safe_load((small_sample / "params.yaml").read_text())["datasets"]
    )
    assert "train " in known["sample"] and known["tinystories"].endswith("-")
    assert (
        "hub: roneneldan/TinyStories" in known["tinystories"] and "1.0 GB" in known["tinystories"]
    )
    assert "CDLA-Sharing-1.0" in known["tinystories-v2"]
    assert last == "`make data DATASET=name` builds one; `make data` means sample"
