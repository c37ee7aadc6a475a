"""slm in a project of one's own: what is installed, what it needs, and what is said without it."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import tiktoken

from slm.tokens import published
from tests.workspace import ROOT

WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(sys.argv[1].split(",")))  # None: as if it were not installed
from slm.core.errors import run_main
def main():
    import slm
    bins = slm.open_bins(sys.argv[2])
    print(len(bins.ids("train")) > 0)
    {line}
run_main(main)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    words = ("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ROOT)
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_has_the_package_slm_alone_under_a_name_of_its_own(wheel):
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        names = {*archive.namelist()}
    assert tops == {"slm", f"{wheel.name.split('-py3')[0]}.dist-info"}
    assert wheel.name.startswith("slm_bins-")
    assert {"slm/text/stories.toml", "slm/tokens/engines.txt", "slm/py.typed"} <= names


def test_numpy_is_all_that_it_needs_and_the_extras_have_the_rest():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == ["numpy>=2.0"]
    assert {"train", "data", "s3", "ssh", "webdav", "gs"} <= {*project["optional-dependencies"]}


@pytest.mark.parametrize(
    ("missing", "line", "extra"),
    [
        ("torch", "slm.Batches", "train"),
        ("torch", "slm.bits_per_byte", "train"),
        ("torch", "from slm.batching import Mixture", "train"),
        ("tiktoken", "bins.decode([1])", "train"),
        ("dvc,yaml", "slm.open_revision('data/sample/bins', 'HEAD')", "data"),
    ],
)
def test_a_missing_package_is_one_line_with_its_extra(small_sample, missing, line, extra):
    bins = small_sample / "data/sample/bins"
    words = [sys.executable, "-c", WITHOUT.format(line=line), missing, str(bins)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout) == (1, "True\n"), done.stderr
    assert done.stderr.count("\n") == 1 and f"its extra `{extra}`" in done.stderr


def test_gpt_2_of_its_wheel_is_tiktoken_s(monkeypatch):
    carried = published._gpt2(*published.carried_gpt2())
    theirs = tiktoken.get_encoding("gpt2")
    assert carried._mergeable_ranks == theirs._mergeable_ranks
    assert (carried._pat_str, carried._special_tokens, carried.n_vocab) == (
        theirs._pat_str,
        theirs._special_tokens,
        theirs.n_vocab,
    )


def test_where_there_was_no_set_up_gpt_2_needs_no_network(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "nothing"))
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: pytest.fail("tiktoken would fetch"))
    assert published.load_encoding("gpt2").encode("hello world") == [31373, 995]
    assert not (tmp_path / "nothing").exists()


def test_a_corrupt_file_of_that_wheel_is_refused(tmp_path):
    vocab, encoder = published.carried_gpt2()
    (tmp_path / "vocab.bpe").write_bytes(vocab.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"vocab\.bpe is corrupt; `pip install --force-reinstall"):
        published._gpt2(tmp_path / "vocab.bpe", encoder)
