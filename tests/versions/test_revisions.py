"""Bins of other revisions: opened side by side, kept by hash, refused where damaged, compared."""

import errno
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiktoken

import slm.bins.diff
import slm.versions.places
from slm.bins.diff import differences
from slm.bins.format import write_docs, write_manifest
from slm.bins.opening import Bins, open_bins
from slm.core.errors import UserError
from slm.core.ids import write_ids
from slm.tokens.vocabulary import describe
from slm.versions.revisions import open_revision
from tests.helpers import one_line
from tests.workspace import commit, dvc, edit, environment, git, hashes, script

BINS = "data/sample/bins"
URL = "file://{}"


@pytest.fixture(scope="module")
def group(small_sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with tags `none` and `append` and an experiment `before`, pushed to a folder beside.

    The branch `main` is at `append`; checked out is a branch `other`, with no bins in the folder.
    """
    folder = tmp_path_factory.mktemp("group") / "clone"
    shutil.copytree(small_sample, folder, symlinks=True)
    config = "[core]\n    analytics = false\n    remote = shared\n"
    (folder / ".dvc/config").write_text(f"{config}['remote \"shared\"']\n    url = ../../shared\n")
    for old, new in (("none", "none"), ("none", "append"), ("append", "prepend")):
        edit(folder / "params.yaml", f"  end_of_text: {old}", f"  end_of_text: {new}")
        script(folder, "make_data")
        if new == "prepend":
            dvc(folder, "exp", "save", "-n", "before")
        else:
            commit(folder)
            git(folder, "tag", new)
        dvc(folder, "push", "-q")
    git(folder, "checkout", "-q", "--force", "-B", "main")
    git(folder, "checkout", "-q", "-b", "other")
    shutil.rmtree(folder / BINS)
    return folder


@pytest.fixture
def clone(group: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the group's clone and remote, to break; we stand in a third folder."""
    shutil.copytree(group.parent, tmp_path / "group", symlinks=True)
    (tmp_path / "third").mkdir()
    monkeypatch.chdir(tmp_path / "third")
    return tmp_path / "group" / "clone"


def opened(rev: str, repo: Path | str, **more: object) -> Bins:
    return open_revision(BINS, rev, repo=repo, store="store", **more)


def refused(rev: str, repo: Path | str, **more: object) -> str:
    with pytest.raises(UserError) as error:
        opened(rev, repo, **more)
    return one_line(error)


def landed() -> list[Path]:
    """The folders of bins in the store, or of what was to become some."""
    return [path for path in Path("store").glob("*") if path.is_dir() and path.name != "known"]


def objects(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "files/md5").glob("*/*") if path.is_file())


# --- opening ---


def test_two_tags_are_open_side_by_side_and_nothing_is_checked_out(clone):
    none, append = opened("none", clone), opened("append", clone)
    assert np.count_nonzero(none.ids("train") == 50_256) == 0
    assert np.count_nonzero(append.ids("train") == 50_256) == 60
    kept = append.ids("train")[append.ids("train") != 50_256]
    assert np.array_equal(none.ids("train"), kept)
    assert not (clone / BINS).exists() and git(clone, "status", "--porcelain") == ""


def test_a_revision_is_a_tag_a_commit_a_branch_or_an_experiment(clone):
    head = git(clone, "rev-parse", "main").strip()
    for rev in ("append", head, head[:9], "main", "other", "HEAD"):
        assert opened(rev, clone).revision == head
    assert opened("HEAD~1", clone).manifest["end_of_text"] == "none"
    assert opened("before", clone).manifest["end_of_text"] == "prepend"
    assert len(landed()) == 3


def test_the_version_names_dataset_commit_encoding_end_of_text_and_content(clone):
    bins, head = opened("append", clone), git(clone, "rev-parse", "append").strip()
    expected = f"gpt2 end_of_text=append sha256:{bins.manifest['sha256']}"
    assert bins.version == f"sample@{head} {expected}"
    assert open_bins(bins.folder).version == f"sample {expected}"


def test_a_second_open_touches_neither_cache_nor_remote(clone):
    first = opened("none", clone)
    shutil.rmtree(clone / ".dvc/cache")
    shutil.rmtree(clone.parent / "shared")
    assert opened("none", clone) == first
    assert "not in DVC's cache, not in the default remote" in refused("append", clone)


def test_what_is_missing_or_corrupt_in_the_cache_comes_from_the_remote(clone):
    for path in objects(clone / ".dvc/cache")[::2]:
        path.chmod(0o644)
        path.write_bytes(b"corrupt")
    for path in objects(clone / ".dvc/cache")[1::2]:
        path.unlink()
    assert opened("none", clone, verify=True).manifest["end_of_text"] == "none"


@pytest.mark.parametrize("damaged", [lambda b: bytes([b[0] ^ 1]) + b[1:], lambda b: b[:-1], bytes])
def test_a_damaged_object_is_refused_and_nothing_lands(clone, damaged):
    shutil.rmtree(clone / ".dvc/cache")
    for path in objects(clone.parent / "shared"):
        if not path.name.endswith(".dir"):
            path.chmod(0o644)
            path.write_bytes(damaged(path.read_bytes()) if damaged is not bytes else b"")
    assert "corrupt in the default remote" in refused("none", clone)
    assert landed() == []


def test_a_flipped_byte_in_the_store_is_found_by_verify_and_a_missing_file_comes_again(clone):
    bins = opened("none", clone)
    (bins.folder / "train.docs.npy").unlink()
    before = hashes(opened("none", clone, verify=True).folder)
    content = (bins.folder / "train.bin").read_bytes()
    (bins.folder / "train.bin").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    said = refused("none", clone, verify=True)
    assert "train.bin differs in chunk 0" in said and f"`rm -r {bins.folder}`" in said
    shutil.rmtree(bins.folder)
    assert hashes(opened("none", clone, verify=True).folder) == before


def test_a_remote_that_is_a_folder_of_the_repository_is_read_as_of_the_revision(clone):
    edit(clone / ".dvc/config", "../../shared", "../data/prebuilt")
    shutil.rmtree(clone / "data/prebuilt")
    shutil.move(clone.parent / "shared", clone / "data/prebuilt")
    git(clone, "add", "-f", "data/prebuilt")
    commit(clone)
    git(clone, "tag", "shipped")
    git(clone, "rm", "-rq", "data/prebuilt")
    commit(clone)
    shutil.rmtree(clone / ".dvc/cache")
    for repo in (clone, URL.format(clone)):
        assert opened("shipped", repo).manifest["end_of_text"] == "append"
        shutil.rmtree("store")


# --- another repository, by URL ---


@pytest.fixture
def url(clone: Path) -> str:
    """The URL of the clone; its remote has a path that holds from anywhere."""
    edit(clone / ".dvc/config", "../../shared", str(clone.parent / "shared"))
    commit(clone)
    git(clone, "tag", "--force", "v1")
    return URL.format(clone)


def test_by_url_a_tag_a_branch_a_commit_and_an_experiment_are_opened(clone, url):
    head = git(clone, "rev-parse", "v1").strip()
    for rev in ("v1", head, head[:9], "other", "HEAD"):
        assert opened(rev, url).revision == head
    assert "not in the default remote as of the revision" in refused("before", url)
    prepended = opened("before", clone)  # its remote was a path beside the clone, gone in another
    assert opened("before", url) == prepended


def test_by_url_a_tag_and_a_commit_need_no_network_again_and_a_branch_says_so(clone, url):
    first, head = opened("v1", url), git(clone, "rev-parse", "v1").strip()
    assert opened("other", url).revision == head
    clone.rename(clone.with_name("gone"))
    assert opened("v1", url) == opened(head, url) == first
    said = refused("other", url)
    assert "cannot be cloned" in said and f"it was {head} when last asked for" in said


def test_a_password_in_a_url_is_not_said():
    said = refused("v1", "http://me:secret@127.0.0.1:9/none.git")
    assert "127.0.0.1:9/none.git cannot be cloned" in said and "secret" not in said


def test_two_processes_at_once_both_open_and_one_fetches(clone):
    code = f"from slm import open_revision; b = open_revision({BINS!r}, 'none', "
    code += f"repo={str(clone)!r}, store='store', verify=True); print(b.version)"
    words = [sys.executable, "-c", code]
    start = [
        subprocess.Popen(words, env=environment(clone), stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [job.communicate(timeout=60)[0] for job in start]
    assert said[0] == said[1] == f"{opened('none', clone).version}\n"
    assert len(landed()) == 1


@pytest.mark.parametrize(
    ("rev", "path", "said"),
    [
        ("nope", BINS, "'nope' is no tag, branch, commit or experiment"),
        ("--all", BINS, "'--all' is no tag"),
        ("main", "data/other/bins", "has no bins data/other/bins; the bins it has: data/sample"),
        ("main", "../../etc", "has no bins ../../etc"),
        ("bare", BINS, "revision bare has no dvc.lock"),
        ("torn", BINS, "dvc.lock of revision torn cannot be read"),
    ],
)
def test_what_is_missing_in_a_revision_is_said_in_one_line(clone, rev, path, said):
    if rev == "bare":
        git(clone, "rm", "-q", "dvc.lock")
    (clone / "dvc.lock").write_text("<<<<<<<\n") if rev == "torn" else None
    if rev in ("bare", "torn"):
        commit(clone)
        git(clone, "tag", rev)
    with pytest.raises(UserError) as error:
        open_revision(path, rev, repo=clone, store="store")
    assert said in one_line(error)


def test_a_store_that_cannot_be_written_is_said_and_no_remote_is_blamed(clone, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(slm.versions.places, "_copy", full)
    said = refused("none", clone)
    store = Path("store").absolute()
    assert said.startswith(f"the store {store} cannot be written (No space left on device)")
    assert "push" not in said and landed() == []
    shutil.rmtree("store")
    Path("store").write_text("a file")
    assert f"the store {store} cannot be written (" in refused("none", clone)


def test_why_a_url_cannot_be_cloned_is_said_and_not_what_git_advises(clone):
    said = refused("none", f"file://{clone}/none")
    assert "does not appear to be a git repository" in said and "access rights" not in said


def test_a_folder_that_is_no_repository_is_said(clone):
    assert "nowhere cannot be cloned" in refused("main", "nowhere")
    Path("plain/.dvc").mkdir(parents=True)
    said = refused("main", "plain")
    assert "not a git repository" in said and "give the folder of a clone, or a URL" in said


# --- comparing ---


def made(folder: Path, texts: list[str], policy: str = "none", encoding=None) -> Bins:
    """Bins of these train documents, put together here."""
    encoding, rows, ids = encoding or tiktoken.get_encoding("gpt2"), [(0, 0)], []
    for text in texts:
        own, end = encoding.encode_ordinary(text), [encoding.eot_token]
        ids += {"none": own, "append": own + end, "prepend": end + own}[policy]
        rows.append((len(ids), rows[-1][1] + len(text.encode())))
    folder.mkdir()
    array = np.array(ids, np.int64)
    files = {
        "train.bin": write_ids(folder / "train.bin", [array], np.dtype("<u2")),
        "train.docs.npy": write_docs(
            folder / "train.docs.npy", [np.array(rows, np.uint64)], len(texts)
        ),
    }
    counts = {"tokens": len(ids), "documents": len(texts), "text_bytes": rows[-1][1]}
    source = {"name": "made", "files": {"train": [{"name": "a.jsonl", "rows": len(texts)}]}}
    content = {"dataset": source, "tokenizer": describe(encoding), "end_of_text": policy}
    splits = {"train": {**counts, "files": files}}
    write_manifest(folder, {**content, "dtype": "uint16", "splits": splits})
    return open_bins(folder)


def said(a: Bins, b: Bins) -> str:
    return "\n".join(differences(a, b))


TEXTS = [f"Story {i} is about a cat, a hat and {i * i} other things." for i in range(40)]
OTHERS = ["", *TEXTS[:17], "", TEXTS[17].replace("cat", "dog"), *TEXTS[18:]]
TEXTS = ["", *TEXTS[:17], "", *TEXTS[17:]]  # document 19 differs; empty ones are documents, too


@pytest.fixture(params=[1, 7, 2**20])
def part(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """However the bins are cut for looking at them."""
    monkeypatch.setattr(slm.bins.diff, "PART", request.param)
    return request.param


def test_the_same_bins_do_not_differ(tmp_path):
    assert said(made(tmp_path / "a", TEXTS), made(tmp_path / "b", TEXTS)) == ""


@pytest.mark.parametrize(("one", "other"), [("none", "append"), ("prepend", "append")])
def test_another_end_of_text_is_told_from_another_text(tmp_path, part, one, other):
    a, b = made(tmp_path / "a", TEXTS, one), made(tmp_path / "b", TEXTS, other)
    found = said(a, b)
    assert f"end_of_text: {one} -> {other}" in found
    assert "document 0 is the first that differs, in its end-of-text alone" in found
    assert "the text of all 42 documents is the same" in found
    found = said(a, made(tmp_path / "c", OTHERS, other))
    assert "document 0 is the first that differs, in its end-of-text alone" in found
    assert "document 19 is the first whose text differs" in found


@pytest.mark.parametrize("policy", ["none", "append", "prepend"])
def test_a_changed_document_is_named_with_both_texts(tmp_path, part, policy):
    a, b = made(tmp_path / "a", TEXTS, policy), made(tmp_path / "b", OTHERS, policy)
    lines = said(a, b).splitlines()
    assert "train: document 19 is the first whose text differs" in lines
    assert "about a cat" in lines[-2] and "about a dog" in lines[-1]
    assert "row 20 of a.jsonl" in lines[-1]
    assert not [line for line in lines if "document 0" in line]


def test_a_longer_document_and_one_more_document_are_found(tmp_path, part):
    a = made(tmp_path / "a", TEXTS)
    longer = made(tmp_path / "b", [*TEXTS[:30], TEXTS[30] + " More.", *TEXTS[31:]])
    assert "document 30 is the first whose text differs" in said(a, longer)
    more = said(a, made(tmp_path / "c", [*TEXTS, "One more."]))
    assert "42 -> 43 documents" in more and "A has no document 42" in more


def test_another_vocabulary_is_told_from_another_text(tmp_path, part, monkeypatch):
    ranks = {bytes([i]): i for i in range(256)}
    bytewise = tiktoken.Encoding(
        "bytewise", pat_str=r"(?s).", mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 256}
    )
    known = {"bytewise": bytewise, "gpt2": tiktoken.get_encoding("gpt2")}
    load = "slm.tokens.vocabulary.load_described"
    monkeypatch.setattr(load, lambda about, _: known[about["encoding"]])
    a = made(tmp_path / "a", TEXTS)
    found = said(a, made(tmp_path / "b", TEXTS, "append", bytewise))
    assert "tokenizer.encoding: gpt2 -> bytewise" in found
    assert "the first that differs, in its ids and end-of-text alone" in found
    assert "the text of all 42 documents is the same" in found
    found = said(a, made(tmp_path / "c", OTHERS, "append", bytewise))
    assert "document 19 is the first whose text differs" in found


def test_leading_chunks_of_equal_hash_are_not_read(tmp_path, monkeypatch):
    for module in ("slm.core.files", "slm.bins.format", "slm.bins.verifying", "slm.bins.diff"):
        monkeypatch.setattr(f"{module}.CHUNK_BYTES", 64)
    a, b = made(tmp_path / "a", TEXTS), made(tmp_path / "b", OTHERS)
    expected = said(a, b)
    (a.folder / "train.bin").write_bytes(b"\xff" * 64 + (a.folder / "train.bin").read_bytes()[64:])
    assert said(a, b) == expected, "what the hashes vouch for was not looked at"


def test_make_diff_compares_two_tags_and_the_workspace(clone):
    words = [sys.executable, "-m", "scripts.diff_bins"]
    home = {**environment(clone), "HOME": str(clone.parent)}

    def run(*more: str) -> str:
        done = subprocess.run(
            [*words, *more], cwd=clone, env=home, capture_output=True, text=True, check=True
        )
        return done.stdout

    found = run("--a", "none", "--b", "append")
    assert "train: 60 documents" in found and "end_of_text: none -> append" in found
    assert "train: document 0 is the first that differs, in its end-of-text alone" in found
    assert "validation: the text of all 8 documents is the same" in found
    dvc(clone, "checkout", "-q")
    assert run().endswith("A and B are the same bytes\n")


@pytest.mark.parametrize("folder", [".", "slm", "research/text/slm"])
def test_a_project_in_a_folder_of_a_repository_is_opened_by_url(clone, url, tmp_path, folder):
    outer = tmp_path / "outer"
    left_out = shutil.ignore_patterns(".git", "cache", "tmp")
    shutil.copytree(clone, outer / folder, ignore=left_out, symlinks=True)
    git(outer, "init", "-q")
    commit(outer)
    git(outer, "tag", "v9")
    bins = open_revision(f"{folder}/{BINS}", "v9", repo=f"file://{outer}", store="store")
    assert bins.manifest == opened("v1", url).manifest
    again = open_revision(f"{folder}/{BINS}", "v9", repo=f"file://{outer}", store="store")
    assert again == bins
    if folder != ".":
        assert f"begin the path with the folder {folder}" in refused("v9", f"file://{outer}")
