"""What slm.versions.dvc_internals relies on is there in the DVC that is installed."""

import json
import logging
import re
from pathlib import Path

import pytest
from dvc.repo import Repo
from dvc.rwlock import rwlock

from slm.core.files import md5_of
from slm.versions import dvc_internals
from slm.versions.dvc_internals import Repository, Store, failed_copies, lock_holders, replaced
from slm.versions.pipeline import open_repo
from tests.workspace import workspace


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    return workspace(tmp_path_factory.mktemp("internals"))


@pytest.fixture(autouse=True)
def here(clone, monkeypatch):
    monkeypatch.chdir(clone)


def surface(protocol: type) -> set[str]:
    """The names of a protocol's attributes and methods."""
    return {name for name in {*protocol.__annotations__, *vars(protocol)} if name[0] != "_"}


@pytest.mark.parametrize("protocol", [Repository, Store])
def test_dvc_s_objects_have_what_the_protocols_name(protocol):
    with open_repo() as repo:
        instance = repo if protocol is Repository else repo.cache.local
        assert {name for name in surface(protocol) if not hasattr(instance, name)} == set()
        assert callable(repo.cloud.get_remote_odb) and callable(repo.experiments.run)


def test_dvc_writes_its_lock_through_what_we_replace(tmp_path, monkeypatch):
    """Else a kill would leave it empty again, and no other test would say why."""
    import dvc.dvcfile

    calls = []

    def modify_yaml(path, fs=None):
        calls.append(Path(path).name)
        return dvc_internals._written_by_rename(path, fs)

    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text("stages: {a: {cmd: 'true'}}")
    with Repo.init(no_scm=True) as repo, replaced(dvc.dvcfile, "modify_yaml", modify_yaml):
        repo.reproduce()
    assert calls == ["dvc.lock"] and Path("dvc.lock").stat().st_size > 0


def test_what_is_replaced_is_put_back():
    import dvc.dvcfile

    before = dvc.dvcfile.modify_yaml, logging.getLogger("dvc").level
    with open_repo(), dvc_internals.unrecorded():
        assert dvc.dvcfile.modify_yaml is dvc_internals._written_nowhere
    assert (dvc.dvcfile.modify_yaml, logging.getLogger("dvc").level) == before


def test_a_name_that_dvc_has_not_is_an_error():
    import dvc.dvcfile

    with pytest.raises(AttributeError), replaced(dvc.dvcfile, "no_such_name", None):
        pass


def test_the_holders_of_dvc_s_list_of_locks_are_read(clone):
    lock = Path(".dvc/tmp/rwlock")
    with open_repo() as repo, rwlock(repo.tmp_dir, repo.fs, "dvc repro", ["a"], ["b"], False):
        holders = list(lock_holders(json.loads(lock.read_bytes())))
    assert [holder["cmd"] for holder in holders] == ["dvc repro"] * 2


def test_a_copy_that_fails_is_noticed():
    with failed_copies() as errors:
        try:
            raise OSError(28, "No space left on device")
        except OSError:
            logging.getLogger("dvc_data.hashfile.transfer").exception("failed to transfer")
    assert [error.errno for error in errors] == [28]


def test_nothing_of_dvc_is_imported_elsewhere():
    root = Path(dvc_internals.__file__).parents[2]
    parts = (root / part for part in ("slm", "compare", "benchmark", "scripts"))
    imports = re.compile(r"^ *(?:from|import) dvc", re.MULTILINE)
    files = [path for part in parts for path in part.rglob("*.py")]
    assert [path.name for path in files if imports.search(path.read_text())] == ["dvc_internals.py"]


def test_links_to_one_file_are_hashed_once_and_another_file_anew(tmp_path):
    import dvc_data.hashfile.hash as hashing
    from dvc.fs import localfs

    asked = []

    def md5(path, fs, **how):
        asked.append(Path(path).name)
        return hashing.file_md5(path, fs, **how)

    once = dvc_internals._once_a_file(md5)
    for name in ("a", "other"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "link").hardlink_to(tmp_path / "a")
    found = [once(str(tmp_path / name), localfs, name="md5") for name in ("a", "link", "other")]
    assert found == [md5_of(tmp_path / name) for name in ("a", "a", "other")]
    assert asked == ["a", "other"]
    (tmp_path / "a").write_bytes(b"changed")
    assert once(str(tmp_path / "link"), localfs, name="md5") == md5_of(tmp_path / "a")


def test_dvc_hashes_through_what_we_replace(monkeypatch):
    import dvc_data.hashfile.hash as hashing

    asked = []
    monkeypatch.setattr(dvc_internals, "_once_a_file", lambda md5: record(md5, asked))
    before = hashing.file_md5
    with open_repo() as repo:
        hashing.hash_file("params.yaml", repo.fs, "md5")
    assert asked == ["params.yaml"] and hashing.file_md5 is before


def record(md5, asked: list):
    def file_md5(path, fs, **how):
        asked.append(path)
        return md5(path, fs, **how)

    return file_md5
