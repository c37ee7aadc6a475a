"""Which tests build, which files are long, and which may be skipped where CI runs."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import workspace
from tests.warm_python import warm_python

# `make test-quick` leaves out what is marked `slow`: tests that take seconds, and those of a module
# that uses one of these, which start DVC, a server or a whole build.
BUILDERS = {"Ground", "FaultyHub", "remote_servers", "script", "workspace"}

# What may be skipped in CI, by its reason; anything else that is skipped there fails the run.
MAY_BE_SKIPPED = {
    "no CUDA GPU": "CI has none; these tests run on the GPU machines",
    "real stories are not part of the repository": "an excerpt of them may be beside the clone",
    "needs ../shared/tinystories": "real stories are not part of the repository",
    "the packages of the group `loops` are not installed": "five minutes: run before a release",
    "the packages of the group `peers` are not installed": "100 MB: `make peers` installs them",
    "Ray is not installed": "its package is 200 MB installed: run before a release",
    "Ray is installed": "and this test is of machines without it",
    "only one Python found": "another Python is a convenience of the machine",
    "needs leave to mount a tmpfs": "a full disk is made by mounting a small one",
    "needs root to give files away": "a clone of another account is made by root",
    "needs root and the right to mount a tmpfs": "a full disk is made by mounting a small one",
    "needs /dev/shm on a disk of its own": "a container may have it on the same disk",
}

# Documents of the sample that tests share.
SMALL = "{train: 60, validation: 8}"

# The files that take longest, first: a core that gets one of them last would end alone.
LONGEST = (
    "tests/test_docs.py",
    "compare/test_compare.py",
    "batching/test_kernel.py",
    "tokens/test_clusters.py",
    "benchmark/test_bench_data.py",
    "loops/test_plain_loops.py",
    "versions/test_pipeline.py",
    "versions/test_remotes.py",
    "versions/test_prebuilt.py",
    "text/test_hub.py",
    "versions/test_repair.py",
    "versions/test_dvc_commands.py",
    "kills/test_kills.py",
    "tokens/test_engines.py",
    "loops/test_frameworks.py",
    "batching/test_batching.py",
)


# Threads of PyTorch that wait must not spin: with a test on each core they keep the others from it.
# Read as PyTorch is imported, here and in what tests start.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: starts DVC, a server or a build, or takes seconds")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in filter(_builds, items):
        item.add_marker("slow")
    items.sort(key=_rank)


def _builds(item: pytest.Item) -> bool:
    """Whether the module of a test uses one of BUILDERS."""
    return not BUILDERS.isdisjoint(vars(item.module))


def _rank(item: pytest.Item) -> int:
    """The rank in LONGEST of a test's file; the order within a file stays."""
    ranks = (rank for rank, name in enumerate(LONGEST) if str(item.path).endswith(name))
    return next(ranks, len(LONGEST))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if os.environ.get("CI") == "true" and (others := _others(terminalreporter)):
        terminalreporter.section("skipped, though CI must not skip them")
        terminalreporter.line("\n".join(others))


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") == "true" and reporter and _others(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _others(reporter: pytest.TerminalReporter) -> list[str]:
    """The skips that MAY_BE_SKIPPED does not name."""
    skips = {str(report.longrepr[2]) for report in reporter.stats.get("skipped", [])}
    return sorted(skip for skip in skips if not any(reason in skip for reason in MAY_BE_SKIPPED))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """PyTorch's: several would wait for each other longer than a small model takes."""
    import torch  # which takes seconds, and few tests need

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def small_sample(tmp_path_factory, _fast_commands) -> Path:
    """A workspace with a small sample, built and committed once for all tests, which copy it."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # of this run alone
    folder = base / "small-sample"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of the processes that run tests one builds
        if not (folder / "built").exists():
            workspace.workspace(folder / "clone")
            params = folder / "clone" / "params.yaml"
            workspace.edit(params, "{train: 5000, validation: 250}", SMALL)
            workspace.script(folder / "clone", "make_data")
            workspace.commit(folder / "clone")
            (folder / "built").touch()
    return folder / "clone"


@pytest.fixture(scope="session", autouse=True)
def _fast_commands(request, tmp_path_factory) -> Iterator[None]:
    """Let the commands that tests start be forks of a Python that has imported DVC already."""
    if not any(map(_builds, request.session.items)):
        yield
        return
    with (
        warm_python(tmp_path_factory.mktemp("warm")) as python,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(workspace, "PYTHON", python)
        yield
