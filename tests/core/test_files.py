"""What has its own name is whole; what was interrupted is nothing."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm.core import files
from slm.core.errors import UserError, run_main
from slm.core.files import HashedFile, chunk_hashes, landing, write_file


def test_a_folder_appears_whole_when_the_block_ends(tmp_path):
    with landing(tmp_path / "out") as folder:
        (folder / "a").write_text("1")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out" / "a").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_failed_leaves_the_old_one_and_nothing_else(tmp_path):
    with landing(tmp_path / "out") as folder:
        (folder / "a").write_text("old")
    with pytest.raises(RuntimeError), landing(tmp_path / "out") as folder:
        (folder / "a").write_text("new")
        raise RuntimeError
    assert (tmp_path / "out" / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_new_folder_replaces_the_old_one(tmp_path):
    for content in ("old", "new"):
        with landing(tmp_path / "out") as folder:
            (folder / content).touch()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]


def test_what_a_dead_process_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as living:
        dead = subprocess.run(
            [sys.executable, "-c", "import os; print(os.getpid())"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for process in (dead, living.pid):
            (tmp_path / f"out.{process}.tmp").mkdir()
        with landing(tmp_path / "out"):
            pass
        left = {path.name for path in tmp_path.iterdir()}
        living.stdin.close()
    assert left == {"out", f"out.{living.pid}.tmp"}


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "params.yaml"
    write_file(path, b"old")
    monkeypatch.setattr(files, "flush", lambda path: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["params.yaml"]  # noqa: PTH208


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 16))
def test_hashes_of_chunks_are_hashlib_s_however_the_bytes_came(tmp_path_factory, parts, size):
    path = tmp_path_factory.mktemp("hashed") / "x"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHUNK_BYTES", size)
        with HashedFile(path) as file:
            for part in parts:
                file.write(np.frombuffer(part, np.uint8))
        whole = b"".join(parts)
        expected = [whole[i : i + size] for i in range(0, len(whole), size)]
        assert file.hashes == [hashlib.sha256(chunk).hexdigest() for chunk in expected]
        assert file.hashes == chunk_hashes(path) and file.size == len(whole)
        assert path.read_bytes() == whole


def test_a_user_s_mistake_is_one_line_and_ours_keeps_its_traceback(capsys):
    def mistake():
        raise UserError("found this,\nexpected that")

    with pytest.raises(SystemExit) as exit_:
        run_main(mistake)
    assert exit_.value.code == "error: found this, expected that"
    with pytest.raises(ZeroDivisionError):
        run_main(lambda: 1 / 0)
    with pytest.raises(SystemExit, match="the disk is full"):
        run_main(lambda: (_ for _ in ()).throw(OSError(28, "No space left on device")))
