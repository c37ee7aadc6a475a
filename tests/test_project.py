"""pyproject.toml, the lock, the Makefile and git say what is so."""

import re
import subprocess
import sys
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.workspace import ROOT, environment, git


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pins}


def test_every_dependency_is_locked_within_its_range():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    groups = project["dependency-groups"]
    for large in ("kernel", "card", "loops", "peers"):  # not in the lock
        assert all("==" in pin for pin in groups.pop(large))
    assert all("==" in pin for pin in extras.pop("ray")) and extras.pop("gs")
    lists = [project["project"]["dependencies"], *groups.values(), *extras.values()]
    wanted = [requirement for requirements in lists for requirement in requirements]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(locked()[canonicalize_name(requirement.name)])


def test_the_training_side_imports_numpy_and_pytorch_alone_and_no_compiler():
    code = (
        "import sys, slm.bins, slm.batching.sampling; light = 'torch' not in sys.modules;"
        "import slm.batching;"
        "heavy = {'tiktoken', 'pyarrow', 'dvc', 'datasets', 'yaml', 'torch._dynamo'};"
        "print(light, sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True []\n"


def test_no_output_of_a_stage_is_tracked_by_git():
    tracked = git(ROOT, "ls-files", "data").split()
    shipped = r"data/[^/]+/source/.*|data/prebuilt/files/.*"
    assert [name for name in tracked if not re.fullmatch(shipped, name)] == []


def test_make_alone_lists_the_targets_and_needs_no_environment(tmp_path):
    words = ["make", "-C", str(ROOT), f"VENV={tmp_path}/none"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment(ROOT), check=True)
    assert "make data " in done.stdout and not (tmp_path / "none").exists()
