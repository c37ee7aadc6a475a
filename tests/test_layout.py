"""Each package has its place, imports go one way, and DVC sees all code that a stage reaches."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.workspace import ROOT, git

# From the bottom up: a package imports itself and those before it.
ORDER = (
    "slm.core",
    "slm.text",
    "slm.selection",
    "slm.tokens",
    "slm.bins",
    "slm.stores",
    "slm.export",
    "slm.stats",
    "slm.cards",
    "slm.versions",
    "slm.batching",
    "slm.training",
    "slm",
    "benchmark",
    "compare",
    "examples",
    "scripts",
)
MOST = 14  # modules of a folder


@cache
def modules() -> dict[str, Path]:
    """Every module of ours but the tests, by its dotted name; a package by its own."""
    listed = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "*.py").split()
    files = [Path(name) for name in listed if (ROOT / name).is_file()]
    names = {".".join(file.with_suffix("").parts).removesuffix(".__init__"): file for file in files}
    return {name: ROOT / file for name, file in names.items() if not name.startswith("tests.")}


def imported(name: str) -> set[str]:
    """The modules of ours that a module imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(modules()[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {node.module or ""} | (inner & modules().keys())
    ours = r"(slm|compare|benchmark|examples|scripts|tests)\b"
    return {other for other in found if re.match(ours, other)}


def package(name: str) -> str:
    return max((one for one in ORDER if name == one or name.startswith(f"{one}.")), key=len)


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_go_down_and_none_leads_to_the_tests(name):
    here = ORDER.index(package(name))
    assert all(ORDER.index(package(other)) <= here for other in imported(name))


def test_no_imports_form_a_circle():
    left = {name: imported(name) - {name} for name in modules()}
    while ready := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in ready}
    assert left == {}


def test_no_folder_has_more_modules_than_fit_in_a_look():
    folders = [file.parent for name, file in modules().items() if package(name) != "scripts"]
    assert {
        str(folder): folders.count(folder) for folder in folders if folders.count(folder) > MOST
    } == {}


def reached(name: str) -> set[str]:
    """A module and every module of ours that it imports, directly or not."""
    found, queue = {name}, [name]
    while queue:
        new = {other for other in imported(queue.pop()) if other in modules()} - found
        found |= new
        queue += new
    return found


def test_every_module_that_a_stage_reaches_lies_under_one_of_its_deps():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for stage in stages.values():
        files = {modules()[name].relative_to(ROOT) for name in reached(stage["cmd"].split()[2])}
        deps = [Path(dep) for dep in stage["deps"] if not dep.startswith(("data/", "metrics/"))]
        above = {file: [dep for dep in deps if file.is_relative_to(dep)] for file in files}
        assert [file for file, found in above.items() if not found] == []
        assert [dep for dep in deps if [dep] not in above.values()] == []


def test_the_versions_that_decide_ids_are_those_of_the_lock():
    engines = (ROOT / "slm/tokens/engines.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in engines if not line.startswith("#")]
    assert {"tiktoken", "gigatoken"} <= {pin.split("==")[0] for pin in pins}
    assert set(pins) <= set((ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines())
