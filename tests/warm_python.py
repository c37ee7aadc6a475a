"""A Python that has its libraries imported already, so that a command starts in milliseconds.

Tests start some thousand commands, most of whose time is the import of DVC, pyarrow and others. A
server imports these once, nothing of ours; `<folder>/bin/python`, which stands in for the real
Python, hands it a command line (`-m scripts.…` or `-m dvc`), its environment, folder and streams,
and the server forks: the fork runs that module as `__main__`. All else is run by the real Python.
A test that kills a process starts that with `sys.executable`, since a kill would not reach a fork.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

LIBRARIES = (
    *("dvc.repo.reproduce", "dvc.repo.data", "dvc.stage", "dvc.dvcfile", "dvc.fs", "dvc.cli"),
    *("dvc.repo.commit", "dvc.repo.experiments", "dvc_data.index", "networkx", "pandas"),
    *("awkward", "gigatoken", "pyarrow.parquet", "pyarrow.compute", "tiktoken", "yaml", "orjson"),
    *("httpx", "fsspec", "aiohttp", "dill", "multiprocess", "xxhash", "requests", "filelock"),
    *("psutil", "tqdm", "matplotlib.figure", "matplotlib.backends.backend_svg", "jinja2"),
)
CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
words = sys.argv[1:]
ours = words[:1] == ["-m"] and words[1].startswith(("scripts.", "dvc"))
if not ours or "PYTHONHASHSEED" in os.environ:
    os.execv({python!r}, [{python!r}, *words])
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
socket.send_fds(server, [b"!"], [0, 1, 2])
server.sendall(json.dumps([words[1:], os.getcwd(), dict(os.environ)]).encode())
server.shutdown(socket.SHUT_WR)
answers = server.makefile()
process = int(answers.readline())
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: os.kill(process, number))
status = int(answers.readline())
if status < 0:
    signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
os._exit(status)
"""


@contextlib.contextmanager
def warm_python(folder: Path) -> Iterator[Path]:
    """Start a server for the block; yields the Python that asks it, `folder`/bin/python."""
    address = str(folder / "socket")
    words = [sys.executable, "-m", "tests.warm_python", address]
    with subprocess.Popen(words, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout.readline() == b"ready\n"
            (folder / "bin").mkdir()
            client = folder / "bin" / "python"
            client.write_text(CLIENT.format(python=sys.executable, address=address))
            client.chmod(0o755)
            (folder / "bin" / "dvc").write_text(f'#!/bin/sh\nexec {client} -m dvc "$@"\n')
            (folder / "bin" / "dvc").chmod(0o755)
            (folder / "installed").write_text("warm")  # to make, `folder` is an environment
            yield client
        finally:
            server.kill()


def serve(address: str) -> None:
    """Fork for each connection; returns in the forks alone, with all as the caller had it."""
    for name in LIBRARIES:
        importlib.import_module(name)
    importlib.import_module("tiktoken").get_encoding("gpt2")
    gc.collect()
    gc.freeze()  # or each fork's first collection would copy it all
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            streams = socket.recv_fds(connection, 1, 3)[1]
            words, folder, variables = json.load(connection.makefile())
            process = os.fork()
            if process == 0:
                connection.close()
                return _become(streams, words, folder, variables, str(Path(address).parent))
            for stream in streams:
                os.close(stream)
            threading.Thread(target=_answer, args=(connection, process), daemon=True).start()


def _answer(connection: socket.socket, process: int) -> None:
    with connection, contextlib.suppress(BrokenPipeError):
        connection.sendall(f"{process}\n".encode())
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        connection.sendall(f"{status}\n".encode())


def _become(streams: list[int], words: list[str], folder: str, variables: dict, own: str) -> None:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr.reconfigure(line_buffering=True)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    paths = filter(None, variables.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:1] = [folder, *paths]
    sys.executable = f"{own}/bin/python"
    sys.argv = words


def _run(module: str) -> int:
    """Run a module as `__main__`; the exit status that Python would end with."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])
    status = _run(sys.argv[0])
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status)  # the interpreter's own end would take down all those libraries for long
