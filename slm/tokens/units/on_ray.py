"""How does a Ray cluster make units? By plain tasks, each a future of the standard library.

We attach, from a machine of the cluster, and start nothing. A task whose worker dies is given to
another one by Ray itself. Source: https://docs.ray.io/en/latest/ray-core/tasks.html
"""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import partial
from typing import Any

from slm.core.errors import UserError, brief

RETRIES = 10  # of a task whose worker died
SECONDS = 10  # to answer


class Tasks(Executor):
    """Tasks of the cluster that this process is attached to."""

    def __init__(self) -> None:
        self._tasks: dict[Callable, Any] = {}

    def submit(self, work: Callable, *given: Any, **_: Any) -> Future:  # type: ignore[override]
        """Returns the future of `work` for what is given, one CPU each."""
        import ray  # type: ignore[import-not-found]

        if work not in self._tasks:
            self._tasks[work] = ray.remote(max_retries=RETRIES, num_cpus=1)(work)
        made: Future = Future()
        made.set_running_or_notify_cancel()
        self._tasks[work].remote(*given).future().add_done_callback(partial(_pass_on, made))
        return made


def _pass_on(made: Future, theirs: Future) -> None:
    """Gives a future what Ray's own has; an error as it was raised in the task."""
    if error := theirs.exception():
        made.set_exception(getattr(error, "cause", None) or error)
    else:
        made.set_result(theirs.result())


@contextmanager
def attached(address: str) -> Iterator[Executor]:
    """Yields an executor of the cluster at host:port; its tasks end with the block."""
    _check_answers(address)  # Ray itself would wait for minutes
    try:
        import ray
    except ImportError:
        cure = "`.venv/bin/python -m pip install ray==2.60.0`, here and for its workers"
        raise UserError(f"EXECUTOR=ray needs Ray, which is not installed; {cure}") from None
    try:
        ray.init(address=address, log_to_driver=False, logging_level="CRITICAL")
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"the Ray cluster at {address} does not take us ({brief(error)}); run on a "
            "machine of it, with its versions of Python and Ray"
        ) from None
    try:
        yield Tasks()
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        if not (port.isascii() and port.isdecimal() and "/" not in host):
            raise OSError("not host:port")
        socket.create_connection((host, int(port)), SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"no Ray cluster answers at {address} ({error}); `ray start --head` starts one and "
            "prints host:port"
        ) from None
