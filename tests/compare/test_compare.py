"""`make compare`: variants become experiments, what is the same is shared, the workspace stays."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from tokenizers import Tokenizer

from compare.reports import known_training
from compare.variants import Variant, deciding, name_of, variants
from slm.bins.opening import open_bins
from slm.core.errors import UserError
from slm.core.params import read_params, set_values
from slm.tokens.vocabulary import load_described
from slm.tokens.wanted import DEFAULTS, Wanted
from slm.versions.revisions import open_revision
from tests.helpers import one_line
from tests.tokens.trained import word_piece
from tests.workspace import ROOT, add_dataset, commit, dvc, edit, environment, git, hashes, script

BPE = {"tokenizer.encoding": "bpe", "tokenizer.vocab_size": 300}
LISTED = [{}, BPE, {"bins.end_of_text": "append"}, {**BPE, "bins.end_of_text": "append"}]
OTHER_WINDOWS = ("windows of so many tokens\n  block_size: 256", "so many\n  block_size: 9")
STAGES = ("download:", "vocabulary:", "tokenize:", "bins:", "audit:", "describe:")


def listing(folder: Path, changes: list[dict]) -> None:
    """Let params.yaml list these variants."""
    params = (folder / "params.yaml").read_text()
    listed = re.search(r"(?m)^  variants:.*\n(?:    - .*\n)*", params)[0]
    edit(folder / "params.yaml", listed, f"  variants: {json.dumps(changes)}\n")


def state(folder: Path) -> dict:
    """What must be as it was: what git sees, and all that lies in data/ and metrics/."""
    status = git(folder, "status", "--porcelain", "--", ".", ":!reports")
    lock, params = ((folder / name).read_bytes() for name in ("dvc.lock", "params.yaml"))
    return {"git": status, "files": [lock, params], "data": hashes(folder / "data/sample")}


def ran(said: str) -> list[str]:
    """The stages that said that they were done, in order."""
    return [line.split()[0] for line in said.splitlines() if line.startswith(STAGES)]


def experiments(folder: Path) -> dict[str, str]:
    """The commits of all experiments by name."""
    listed = git(folder, "for-each-ref", "--format=%(refname) %(objectname)", "refs/exps")
    refs = (line.split() for line in listed.splitlines())
    return {ref.split("/")[-1]: found for ref, found in refs if ref.count("/") == 4}


@pytest.fixture(scope="module")
def built(small_sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose small sample is built and committed, and that lists four variants."""
    folder = tmp_path_factory.mktemp("built") / "clone"
    shutil.copytree(small_sample, folder, symlinks=True)
    listing(folder, LISTED)
    commit(folder)
    return folder


@pytest.fixture(scope="module")
def compared(built, tmp_path_factory) -> tuple[Path, dict, str]:
    """Such a workspace after a comparison, what it was like before, and what was said."""
    folder = shutil.copytree(built, tmp_path_factory.mktemp("compared") / "here", symlinks=True)
    before = state(folder)
    return folder, before, script(folder, "compare")


@pytest.fixture
def copy(built, tmp_path) -> Path:
    return shutil.copytree(built, tmp_path / "copy", symlinks=True)


# --- a comparison ---


def test_the_workspace_is_left_as_it_was_but_for_the_reports(compared):
    folder, before, said = compared
    assert state(folder) == before and before["git"] == ""
    left = [line[3:] for line in git(folder, "status", "--porcelain").splitlines()]
    assert left and all(path.startswith("reports/") for path in left)
    made = sorted(path.name for path in (folder / "reports/sample/compare").iterdir())
    assert made == ["bytes.svg", "compare.html", "compare.md", "lengths.svg", "ranks.svg"]
    assert [line for line in said.splitlines() if line.startswith("wrote ")]


def test_what_is_the_same_is_shared(compared):
    _, _, said = compared
    of = dict(re.findall(r"(?ms)^-- (.*?) \(\d of 4\)\n(.*?)(?=^--|^ )", said))
    assert [*of] == ["gpt2", "gpt2, end of text appended", "bpe 300",
                     "bpe 300, end of text appended"]  # fmt: skip
    assert ran(of["gpt2"]) == []
    assert ran(of["gpt2, end of text appended"]) == ["bins:", "describe:"]
    assert ran(of["bpe 300"]) == ["vocabulary:", "tokenize:", "bins:", "describe:"]
    assert ran(of["bpe 300, end of text appended"]) == ["bins:", "describe:"]


def test_the_table_has_the_variants_in_the_order_of_params_yaml(compared):
    folder, _, said = compared
    head = next(line for line in said.splitlines() if line.startswith("train split"))
    assert re.fullmatch(r"train split +gpt2 +bpe 300 .*", head), head
    assert "the same for all: documents 60" in said
    report = (folder / "reports/sample/compare/compare.md").read_text()
    assert "| train split | gpt2 | bpe 300 | gpt2, end of text appended |" in report


def test_a_second_comparison_runs_no_stage_and_writes_the_same(compared):
    folder, before, said = compared
    reports = hashes(folder / "reports")
    again = script(folder, "compare")
    assert ran(again) == [] and "-- " not in again
    assert again and said.endswith(again)
    assert hashes(folder / "reports") == reports and state(folder) == before


def test_a_variant_is_opened_by_name_and_can_be_decoded_anywhere(compared, tmp_path):
    folder, _, _ = compared
    texts = [json.loads(line)["text"] for line in (folder / "data/sample/raw/train-00000-of-00001.jsonl").open()]  # fmt: skip  # noqa: E501
    named = {name.rsplit("-", 1)[0]: name for name in experiments(folder)}
    assert set(named) == {"sample-gpt2-none", "sample-gpt2-append", "sample-bpe-300-none",
                          "sample-bpe-300-append"}  # fmt: skip
    for kind, name in named.items():
        bins = open_revision("data/sample/bins", name, repo=folder, store=tmp_path, verify=True)
        away = shutil.copytree(bins.folder, tmp_path / f"away-{kind}")
        assert (away / "vocabulary.tiktoken").exists() == ("bpe" in kind)
        bins = open_bins(away, verify=True)
        encoding = load_described(bins.manifest["tokenizer"], away)
        ends, more = bins.docs("train")[:, 0].tolist(), int(kind.endswith("append"))
        ids = bins.ids("train")[ends[7] : ends[8] - more]
        assert bins.decode(ids) == texts[7]
        assert ids.tolist() == encoding.encode_ordinary(texts[7])


def test_the_plain_way_of_dvc_gives_the_same_numbers(compared, tmp_path):
    folder, _, _ = compared
    plain = shutil.copytree(folder, tmp_path / "plain", symlinks=True)
    values = variant("bpe", 300, "append").values
    set_values(plain / "params.yaml", values)
    script(plain, "make_data")
    (name,) = (name for name in experiments(plain) if name.startswith("sample-bpe-300-append"))
    of = experiments(plain)[name]
    tables = ("lengths.csv", "ranks.csv", "bytes.csv")
    for file in ("tokens.json", "summary.json", "text.json", *tables):
        kept = git(plain, "show", f"{of}:metrics/sample/{file}")
        assert kept == (plain / "metrics/sample" / file).read_text(), file
    assert git(plain, "show", f"{of}:params.yaml") == (plain / "params.yaml").read_text()
    assert git(plain, "show", f"{of}:dvc.lock") == (plain / "dvc.lock").read_text()
    found = json.loads(dvc(plain, "metrics", "diff", "--json"))
    train = found["metrics/sample/summary.json"]["train.tokens"]
    tokens = json.loads((plain / "metrics/sample/tokens.json").read_text())["train"]["tokens"]
    assert train["new"] == tokens != train["old"]
    changed = {"tokenizer.encoding", "tokenizer.vocab_size", "bins.end_of_text"}
    assert set(json.loads(dvc(plain, "params", "diff", "--json"))["params.yaml"]) == changed


def test_an_experiment_that_is_applied_is_what_the_workspace_then_has(compared, tmp_path):
    folder = shutil.copytree(compared[0], tmp_path / "applied", symlinks=True)
    (name,) = (name for name in experiments(folder) if name.startswith("sample-bpe-300-append"))
    dvc(folder, "exp", "apply", name)
    assert variants(read_params(folder / "params.yaml"))[0] == variant("bpe", 300, "append")
    script(folder, "make_data")
    applied = open_bins(folder / "data/sample/bins", verify=True)
    by_name = open_revision("data/sample/bins", name, repo=folder, store=tmp_path)
    assert applied.manifest == by_name.manifest


def test_after_a_pull_the_text_is_made_again_and_nothing_else_is_changed(copy):
    for out in ("raw", "facts", "selection", "vocabulary", "tokens"):
        shutil.rmtree(copy / "data/sample" / out)
    listing(copy, [{"bins.end_of_text": "append"}])
    before = (copy / "dvc.lock").read_bytes()
    assert ran(script(copy, "compare")) == ["download:", "audit:", "bins:", "describe:"]
    assert (copy / "dvc.lock").read_bytes() == before
    assert git(copy, "status", "--porcelain", "--", "data", "metrics") == ""


def test_what_is_not_committed_is_compared_too_and_is_no_commit_of_the_user_s(copy):
    edit(copy / "params.yaml", *OTHER_WINDOWS)
    edit(copy / "slm/stats/describe.py", "RARE = 100", "RARE = 7")
    listing(copy, [{"bins.end_of_text": "prepend"}])
    (copy / "notes.txt").write_text("mine")
    head = git(copy, "rev-parse", "HEAD")
    script(copy, "compare")
    (name,) = experiments(copy)
    found = git(copy, "ls-tree", "-r", "--name-only", experiments(copy)[name]).splitlines()
    assert "notes.txt" not in found and "slm/stats/describe.py" in found
    metrics = json.loads(git(copy, "show", f"{experiments(copy)[name]}:metrics/sample/tokens.json"))
    here = json.loads((copy / "metrics/sample/tokens.json").read_text())
    assert metrics["train"]["rare_ids"] == here["train"]["rare_ids"] - 1  # end-of-text is frequent
    assert git(copy, "rev-parse", "HEAD") == head
    assert " M params.yaml\n" in git(copy, "status", "--porcelain")
    assert git(copy, "stash", "list") == ""


def test_a_corpus_behind_a_link_stays_out_of_git(copy, tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name in ("a", "b"):
        (corpus / f"{name}.txt").write_text(f"Once {name} was a file. It was read. " * 40)
    add_dataset(copy, "mine", "files: {train: [a.txt], validation: [b.txt]}").rmdir()
    (copy / "data/mine/source").symlink_to("../../../corpus")
    listing(copy, [{"bins.end_of_text": "append"}])
    commit(copy)
    script(copy, "compare", "mine")
    (found,) = experiments(copy).values()
    entry = git(copy, "ls-tree", found, "data/mine/source")
    assert entry == git(copy, "ls-tree", "HEAD", "data/mine/source") and entry.startswith("120000")
    git(copy, "rm", "-q", "--cached", "data/mine/source")
    (copy / "data/mine/source").unlink()
    shutil.copytree(corpus, copy / "data/mine/source")
    git(copy, "commit", "-q", "-m", "the corpus lies there, and git does not know it")
    listing(copy, [{"bins.end_of_text": "prepend"}])
    script(copy, "compare", "mine")
    (found,) = (at for name, at in experiments(copy).items() if "prepend" in name)
    assert git(copy, "ls-tree", "-r", found, "data/mine") == ""


def test_a_project_in_a_folder_of_a_repository_is_compared_and_renames_are_carried(built, tmp_path):
    folder = shutil.copytree(built, tmp_path / "outer/inner", symlinks=True)
    shutil.rmtree(folder / ".git")
    git(tmp_path / "outer", "init", "-q")
    listing(folder, [{"bins.end_of_text": "append"}])
    git(folder, "add", "-A", "-f", "--", ".", ":!data/sample", ":!.dvc/cache", ":!.dvc/tmp")
    git(folder, "add", "-f", "data/sample/source")
    git(folder, "-c", "user.name=a", "-c", "user.email=b", "commit", "-q", "-m", "all")
    git(folder, "mv", "benchmark/batches/ceiling.py", "benchmark/other.py")
    script(folder, "compare")
    (found,) = experiments(folder).values()
    names = git(folder, "ls-tree", "-r", "--name-only", found, "benchmark/").split()
    assert "benchmark/other.py" in names and "benchmark/batches/ceiling.py" not in names


def test_what_is_corrupt_in_the_cache_is_built_again(compared, tmp_path):
    folder = shutil.copytree(compared[0], tmp_path / "corrupt", symlinks=True)
    name = next(name for name in experiments(folder) if name.startswith("sample-bpe-300-none"))
    manifest = open_revision("data/sample/bins", name, repo=folder, store=tmp_path).folder
    content = (manifest / "train.bin").read_bytes()
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    corrupt = folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    corrupt.chmod(0o644)
    corrupt.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    said = script(folder, "compare")
    assert re.findall("-- .*", said) == ["-- bpe 300 (1 of 1)"]
    assert corrupt.read_bytes() == content


# --- when it does not go well ---


@pytest.mark.parametrize("content", ["{", "[]", '{"variants": [{"data": "x"}]}'])
def test_a_damaged_result_of_a_training_is_named(compared, tmp_path, content):
    (tmp_path / "cpu.json").write_text(content)
    with pytest.raises(UserError) as error:
        known_training(tmp_path, {})
    assert "cpu.json is no result of a training" in one_line(error)


def test_what_cannot_be_asked_is_refused_before_anything_is_built_or_removed(copy):
    before = state(copy)
    for old, new, said in (
        (
            "windows of so many tokens\n  block_size: 256",
            "x\n  block_size: 0",
            "describe.block_size",
        ),
        ("encoding: gpt2 ", "encoding: gpt5 ", "tokenizer.encoding is 'gpt5'"),
        ("  vocab_size: null", "  vocab: null", "write `vocab_size: null`"),
        ("gpt2              # |", "bpe # a", "tokenizer.vocab_size is None"),
    ):
        text = (copy / "params.yaml").read_text()
        edit(copy / "params.yaml", old, new)
        for name in ("make_data", "compare"):
            assert said in script(copy, name, fails=True)
        (copy / "params.yaml").write_text(text)
    edit(copy / "params.yaml", "validation: 8", "test: 8")
    assert "takes splits train and validation" in script(copy, "compare", "--train", fails=True)
    edit(copy / "params.yaml", "test: 8", "validation: 8")
    assert state(copy) == before


def test_a_variant_that_fails_leaves_the_workspace_and_the_others(copy):
    failing = {**BPE, "tokenizer.vocab_size": 99_999}
    listing(copy, [{"bins.end_of_text": "append"}, failing, BPE])
    commit(copy)
    before = state(copy)
    why = r"error: tokenizer.vocab_size is 99999, .* yields at most [\d,]+; .*\n"
    said = script(copy, "compare", fails=True)
    assert re.fullmatch(
        rf"{why}error: left out, as a stage failed: bpe 99,999; correct what its line above names, "
        r"and run the same command again\n",
        said,
    )
    assert state(copy) == before
    names = [name.rsplit("-", 1)[0] for name in experiments(copy)]
    assert names == ["sample-bpe-300-none", "sample-gpt2-append"]
    report = (copy / "reports/sample/compare/compare.md").read_text()
    assert "bpe 300" in report and "99,999" not in report
    assert not list((copy / "data/sample").glob("*.tmp"))
    listing(copy, [failing])
    assert re.fullmatch(f"{why}error: left out, .*\n", script(copy, "compare", fails=True))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupt_leaves_the_workspace_and_the_next_comparison_goes_on(copy, number):
    listing(copy, [{"bins.end_of_text": "append"}, BPE])
    commit(copy)
    before = state(copy)
    job = subprocess.Popen(
        [sys.executable, "-m", "scripts.compare"], cwd=copy, env=environment(copy),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    while not (line := job.stdout.readline()).startswith("-- bpe 300"):
        assert line, job.stderr.read()
    time.sleep(0.2)  # DVC asks what has changed, or a stage runs
    os.killpg(job.pid, number)
    said = job.communicate(timeout=60)[1]
    if number == signal.SIGINT:
        assert said == "error: interrupted; run the same command again to go on\n"
    again = script(copy, "compare")
    # nothing runs where the interrupt came after the last stage
    assert ran(again)[:1] in (["vocabulary:"], []) and "gpt2" not in "".join(
        re.findall("-- .*", again)
    )
    assert state(copy) == before
    assert not list((copy / "data/sample").glob("*.tmp"))


def test_two_at_once_are_refused(copy):
    job = subprocess.Popen(
        [sys.executable, "-m", "scripts.compare"], cwd=copy, env=environment(copy),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    while "make compare" not in (copy / "data/.lock").read_text():
        time.sleep(0.01)
    assert "`make compare` (process" in script(copy, "make_data", fails=True)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()


def test_bytes_and_a_file_that_git_does_not_know_are_variants(small_sample, tmp_path):
    folder = shutil.copytree(small_sample, tmp_path / "here", symlinks=True)
    (folder / "own").mkdir()
    (folder / "own" / "t.json").write_text(word_piece())
    sha256 = hashlib.sha256(word_piece().encode()).hexdigest()
    file = {"tokenizer.encoding": "file", "tokenizer.file": "own/t.json"}
    wide = {"tokenizer.encoding": "llama3"}
    listing(folder, [{"tokenizer.encoding": "bytes"}, {**file, "tokenizer.sha256": sha256}, wide])
    (folder / ".gitignore").open("a").write("/own/\n")
    commit(folder)
    said = script(folder, "compare")
    assert "bytes (1 of 3)" in said and "file t.json " in said and "llama3 (3" in said
    assert "“llama3” takes 4 bytes per token in the bins" in " ".join(said.split())
    assert "loses some of the text of 68 documents of the source" in " ".join(said.split())
    (name,) = (name for name in experiments(folder) if name.startswith("sample-file-none"))
    assert "own/" not in git(folder, "ls-tree", "-r", "--name-only", experiments(folder)[name])
    by_name = open_revision("data/sample/bins", name, repo=folder, store=tmp_path / "store")
    assert by_name.vocabulary.to_str() == Tokenizer.from_str(word_piece()).to_str()
    assert ran(script(folder, "compare")) == []
    page = (folder / "reports/sample/compare/compare.html").read_text()
    assert f"file t.json {sha256[:7]}" in page


# --- variants ---


def params(changes: list[dict] | object, **sections: dict) -> dict:
    own = {"tokenizer": {**DEFAULTS, "encoding": "gpt2"}, "bins": {"end_of_text": "none"}}
    return {**own, **sections, "compare": {"variants": changes}}


def variant(encoding: str, vocab_size: int | None, end_of_text: str, **more) -> Variant:
    return Variant(Wanted(encoding, vocab_size, **more), end_of_text)


def test_a_variant_is_params_yaml_with_some_values_changed():
    found = variants(params(LISTED))
    assert found == [variant("gpt2", None, "none"), variant("bpe", 300, "none"),
                     variant("gpt2", None, "append"), variant("bpe", 300, "append")]  # fmt: skip
    assert [variant.label for variant in found] == [
        "gpt2", "bpe 300", "gpt2, end of text appended", "bpe 300, end of text appended",
    ]  # fmt: skip
    tokenizer = {**DEFAULTS, "encoding": "bpe", "vocab_size": 999}
    own = {"tokenizer": tokenizer, "bins": {"end_of_text": "append"}}
    listed = [{}, {"bins.end_of_text": "append"}, {"tokenizer.encoding": "gpt2"}]
    found = variants(params(listed, **own))
    assert found == [variant("bpe", 999, "append"), variant("gpt2", None, "append")]


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        (None, "compare.variants is None"),
        ([], "compare.variants is []"),
        ([3], "compare.variants is [3]"),
        ([{"describe.block_size": 3}], "has 'describe.block_size', expected tokenizer.encoding"),
        ([{"bins.end_of_text": "both"}], "bins.end_of_text is 'both', expected one of none"),
        ([{"tokenizer.encoding": "bpe"}], "tokenizer.vocab_size is None"),
        ([{"tokenizer.vocab_size": 300}], "tokenizer.vocab_size is 300, expected null"),
    ],
)
def test_what_is_no_variant_is_refused(listed, said):
    with pytest.raises(UserError) as error:
        variants(params(listed))
    assert said in one_line(error)


def test_a_name_tells_the_parameters_and_changes_with_what_decides(copy, monkeypatch):
    monkeypatch.chdir(copy)
    own, listed = read_params(Path("params.yaml")), variant("bpe", 300, "append")
    before = name_of(listed, "sample", deciding(own, "sample"))
    assert re.fullmatch(r"sample-bpe-300-append-[0-9a-f]{8}", before)
    (copy / "README.md").write_text("other")
    commit(copy)
    assert name_of(listed, "sample", deciding(own, "sample")) == before
    names = {before}
    for file, old, new in (
        ("slm/tokens/training/merges.py", "import ", "import  "),
        ("dvc.yaml", "scripts.write_bins ${", "scripts.write_bins  ${"),
        ("dvc.lock", "path: data/sample/raw\n      hash: md5\n      md5: ", ""),
    ):
        text = Path(file).read_text()
        assert old in text
        Path(file).write_text(text.replace(old, new or old + "0", 1))
        names.add(name_of(listed, "sample", deciding(own, "sample")))
    own["describe"]["block_size"] = 7
    names.add(name_of(listed, "sample", deciding(own, "sample")))
    assert len(names) == 5


def test_setting_values_changes_their_lines_alone(tmp_path):
    path = tmp_path / "params.yaml"
    text = (ROOT / "params.yaml").read_text()
    path.write_text(text)
    set_values(path, variant("bpe", 4096, "append").values)
    pairs = list(zip(text.splitlines(), path.read_text().splitlines(), strict=True))
    assert [new.split("#")[0].strip() for old, new in pairs if old != new] == [
        "encoding: bpe", "vocab_size: 4096", "end_of_text: append",
    ]  # fmt: skip
    assert variants(read_params(path))[0] == variant("bpe", 4096, "append")
    set_values(path, variant("gpt2", None, "none").values)
    assert path.read_text() == text
    for empty in ("  vocab_size:\n", "  vocab_size:    # none\n", "  vocab_size:    # none\r\n"):
        path.write_text(f"tokenizer:\r\n  encoding: gpt2\r\n\r\n{empty}")
        set_values(path, {"tokenizer.vocab_size": 300, "tokenizer.encoding": "bpe"})
        found = yaml.safe_load(path.read_text())
        assert found == {"tokenizer": {"encoding": "bpe", "vocab_size": 300}}
    path.write_text("tokenizer: {encoding: gpt2}  # short\n")
    set_values(path, {"tokenizer.encoding": "bpe"})
    assert path.read_text() == "tokenizer: {encoding: bpe}  # short\n"
    with pytest.raises(UserError) as error:
        set_values(path, {"bins.end_of_text": "append"})
    assert "params.yaml has no value `bins.end_of_text`" in one_line(error)
