"""The recipes of docs/selecting.md: each built from a small stand-in, as slow loops have it."""

import pytest
import yaml

from slm.core.params import read_params
from slm.selection.wanted import wanted
from tests.helpers import build
from tests.pages import blocks
from tests.selection.test_select import assert_slow, made, selected
from tests.workspace import ROOT

(RECIPES,) = (
    yaml.safe_load(block)["select"]
    for block in blocks("yaml", "docs/selecting.md")
    if "openwebtext" in block
)
PARAMS = read_params(ROOT / "params.yaml")
ROWS = [f"Document {number}." for number in range(20_100)]
SOURCES = {
    "simplestories": {"train": ROWS, "test": ["Another.", ROWS[7]]},
    "babylm-strict-small": {"train": [f"File {number} of six." for number in range(6)]},
}
PLAY = "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n" * 40


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_takes_and_holds_out_what_slow_loops_do(tmp_path, name):
    source = SOURCES.get(name, {"train": [*ROWS, ROWS[0], ROWS[20_050]]})
    bins = made(tmp_path, source, RECIPES[name])
    assert_slow(tmp_path, bins, source, RECIPES[name])


def test_the_recipes_are_of_entries_that_are_ready_or_well_known():
    known = PARAMS["datasets"].keys() & RECIPES.keys()
    assert known == {"simplestories", "fineweb-edu-10b", "fineweb-10b", "babylm-strict-small"}
    assert RECIPES.keys() - known == {"openwebtext", "climbmix", "tinystories-cleaned"}
    for name in known:
        wanted({**PARAMS, "select": {name: RECIPES[name]}}, name)


def test_one_file_of_shakespeare_is_cut_at_nine_tenths(tmp_path):
    raw = build(tmp_path, {"input.txt": PLAY.encode()}, **PARAMS["datasets"]["shakespeare"])
    entry = PARAMS["select"]["shakespeare"]
    bins = selected(tmp_path, raw, entry, "none", ("train",))
    at = int(len(PLAY) * 0.9)  # of ASCII, as nanoGPT cuts it
    assert bins.docs("train")[1, 1] == at and bins.docs("validation")[1, 1] == len(PLAY) - at
