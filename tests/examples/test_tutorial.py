"""examples/tutorial.ipynb runs from its first cell to its last, also as plain Python."""

import json
import re
import shutil
import subprocess
import sys

from tests import workspace
from tests.workspace import ROOT, edit, environment

NOTEBOOK = ROOT / "examples/tutorial.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]


def test_its_cells_run_as_plain_python_and_end_in_a_story(small_sample, tmp_path):
    folder = shutil.copytree(small_sample, tmp_path / "copy", symlinks=True)
    (folder / ".venv").symlink_to(workspace.PYTHON.parents[1])
    program = folder / "examples/program.py"
    program.write_text("\n".join(CODE), encoding="utf-8")
    edit(program, "steps, peak = 1000", "steps, peak = 8")
    env = environment(folder) | {"MPLBACKEND": "agg", "MAKEFLAGS": "MADE_FROM=warm"}
    env |= {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, program.name], cwd=program.parent, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "the first story is as tiktoken has it: True" in done.stdout
    assert re.search(r"^\d\.\d\d bits per byte on validation$", done.stdout, re.MULTILINE)
    assert "\nOnce upon a time" in done.stdout


def test_it_was_run_from_top_to_bottom_and_its_outputs_are_small():
    code = [cell for cell in CELLS if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]
    assert NOTEBOOK.stat().st_size < 80_000
    outputs = json.dumps([cell["outputs"] for cell in code])
    assert "error" not in {output["output_type"] for cell in code for output in cell["outputs"]}
    assert "/home/" not in outputs and str(ROOT) not in outputs
