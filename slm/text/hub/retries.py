"""How long do we wait for the hub, how often is it asked again, and how is its client kept quiet?

Every request gets time limits, and none is made more than three times in a row in vain; what
failed and may pass is tried three times, a second and two seconds later.
"""

import logging
import socket
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from slm.core.errors import cause_chain
from slm.text.hub.errors import is_full, status_of

T = TypeVar("T")
TRIES = 3
CONNECT_SECONDS = 4.0  # no network is said within five


class GaveUp(Exception):
    """Raised inside the client in place of a fourth try; has the last answer, if there was one."""

    def __init__(self, response) -> None:
        super().__init__("no answer, three times")
        self.response = response


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the clients' logs, warnings and bars: what matters we say ourselves, in one line."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from huggingface_hub.utils import disable_progress_bars

            disable_progress_bars()
            yield
    finally:
        logging.disable(before)


def with_retries(work: Callable[[], T]) -> T:
    """What `work` returns; it is tried again, a second and two later, where that may help."""
    for failed in range(1, TRIES):
        try:
            return work()
        except Exception as error:
            if not _may_pass(error):
                raise
        time.sleep(failed)
    return work()


def _may_pass(error: Exception) -> bool:
    """A server error or a reset: the client itself has not tried these again."""
    chain = cause_chain(error)
    names = {type(link).__name__ for link in chain}
    if {"GaveUp", "LocalEntryNotFoundError"} & names or any(map(is_full, chain)):
        return False
    return "ReadError" in names or any((status_of(link) or 0) >= 500 for link in chain)


class RetryLimits:
    """Limits in the client's own session: on each wait, and on tries at one request in a row.

    The client sets no time limit on some requests, tries others for minutes (six times, 60 s
    each), and offers no setting for either.
    """

    def __init__(self) -> None:
        self.failed: Counter = Counter()
        self.errors: dict[tuple, Any] = {}  # the last server error's answer, by request

    def install(self) -> None:
        """Give the limits to every session that the client opens from now on."""
        import huggingface_hub

        # What is received is written in these steps; 10 MiB of the client's own looks like a halt.
        huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = 2**20
        client = huggingface_hub.get_session()
        before = client.event_hooks
        hooks = {
            "request": [*before["request"], self.ask],
            "response": [*before["response"], self.answer],
        }
        make = type(client)  # httpx.Client, or what has taken its place
        more = {"follow_redirects": True, "timeout": None}
        huggingface_hub.set_client_factory(lambda: make(event_hooks=hooks, **more))

    def ask(self, request) -> None:
        """Before a request: not a fourth time, and not without a time limit."""
        from huggingface_hub import constants

        key = (request.method, str(request.url), request.headers.get("Range"))
        if self.failed[key] >= TRIES:
            raise GaveUp(self.errors.get(key))
        self.failed[key] += 1
        seconds = constants.HF_HUB_DOWNLOAD_TIMEOUT  # 10, or as the variable of that name says
        limits = dict.fromkeys(("read", "write", "pool"), seconds)
        connect = min(CONNECT_SECONDS / _addresses(request.url.host), seconds)
        request.extensions["timeout"] = {**limits, "connect": connect}

    def answer(self, response) -> None:
        """After an answer's head: the request succeeded, or it was a server error."""
        request = response.request
        key = (request.method, str(request.url), request.headers.get("Range"))
        if response.status_code < 500:
            del self.failed[key]
            self.errors.pop(key, None)
        else:
            self.errors[key] = response


@cache
def _addresses(host: str) -> int:
    """How many addresses a host has: each is waited for in turn. At least 1."""
    try:
        return max(1, len(socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)))
    except OSError:
        return 1
