"""Where only NumPy and PyTorch are installed, an error says what opening a revision needs."""

import subprocess
import sys
import tomllib

import pytest

from slm.core.errors import WANTED
from tests.workspace import ROOT

OPEN = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[1].split(",")))  # None: as if it were not installed
from slm import open_revision
from slm.core.errors import run_main
run_main(lambda: open_revision("data/sample/bins", "HEAD", repo=sys.argv[2], store=sys.argv[3]))
"""


@pytest.mark.parametrize(("missing", "named"), [("dvc", "dvc"), ("dvc,yaml", "yaml")])
def test_the_missing_package_is_named_with_the_command_that_installs_it(tmp_path, missing, named):
    words = [sys.executable, "-c", OPEN, missing, str(ROOT), str(tmp_path / "store")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ")
    assert f"the package {named} is not installed" in done.stderr
    assert f"`pip install {WANTED[named]}`" in done.stderr and "extra `data`" in done.stderr
    assert list((tmp_path / "store").glob("*/*.bin")) == []


def test_that_command_has_the_versions_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["optional-dependencies"]["data"]
    for package in WANTED.values():
        assert any(line.startswith(package.strip('"')) for line in wanted), package
