"""Which tests build, which files are long, and which may be skipped where CI runs."""

import os

import pytest

# Tests of a module that uses one of these start DVC, a server or a whole build: `make test-quick`
# leaves them out.
BUILDERS = {"Ground", "HubServer", "remote_servers", "script", "workspace"}

# What may be skipped in CI, by its reason; anything else that is skipped there fails the run.
MAY_BE_SKIPPED = {
    "no CUDA GPU": "CI has none; these tests run on the GPU machines",
    "real stories are not part of the repository": "an excerpt of them may lie beside the clone",
    "needs ../shared/tinystories": "real stories are not part of the repository",
    "only one Python found": "another Python is a convenience of the machine",
    "needs leave to mount a tmpfs": "a full disk is made by mounting a small one",
    "needs root and the right to mount a tmpfs": "a full disk is made by mounting a small one",
    "needs /dev/shm on a disk of its own": "a container may have it on the same disk",
}

# The files that take longest, first: a core that gets one of them last would end alone.
LONGEST = (
    "compare/test_compare.py",
    "versions/test_pipeline.py",
    "versions/test_remotes.py",
    "versions/test_prebuilt.py",
    "text/test_hub.py",
    "versions/test_repair.py",
    "kills/test_kills.py",
    "batching/test_batching.py",
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "builds: starts DVC, a server or a whole build")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if BUILDERS & vars(item.module).keys():
            item.add_marker("builds")
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    """Where the file of a test stands in LONGEST; the order within a file stays."""
    places = [place for place, name in enumerate(LONGEST) if str(item.path).endswith(name)]
    return places[0] if places else len(LONGEST)


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
