"""What went wrong with the hub, in one line?

In: any exception out of `datasets` or `huggingface_hub`. Out: a UserError of one of the kinds in
LINES, each with its cure; what is of no kind is said in the client's own words. Exceptions are
known by the names of their classes, since these move between modules, along the chain of causes.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from slm.core.errors import UserError, cause_chain

NO_ACCESS = (
    "the hub refuses {what} of {path} to you (HTTP {status}); ask for access at "
    "{endpoint}/{page}, then `hf auth login`"
)
# The first line that fits is said. Names are of exception classes, numbers are HTTP statuses.
LINES: list[tuple[set[str], str]] = [
    (  # full disk
        {"full"},
        "the disk of {cache} is full; free some space, or set HF_HOME to a folder on another disk: "
        "files that are finished are kept",
    ),
    (  # no network is wanted
        {"OfflineModeIsEnabled"},
        "HF_HUB_OFFLINE or HF_DATASETS_OFFLINE is set, and {path} at {revision} is not complete "
        "and pinned in {cache}; unset it, or give {cache} the files",
    ),
    ({"GatedRepoError"}, NO_ACCESS),  # which is a RepositoryNotFoundError, too
    (  # not found
        {"RevisionNotFoundError", "RepositoryNotFoundError", "HFValidationError"},
        "the hub has no {path} at {revision}, or it is private; correct `path` and `revision` in "
        "params.yaml (see {endpoint}/{page}), or `hf auth login`",
    ),
    ({"401", "403"}, NO_ACCESS),
    (
        {"429"},
        "the hub asks for fewer requests (HTTP 429); wait and run this again: files that are "
        "finished are kept",
    ),
    (  # missing
        {"missing", "DataFilesNotFoundError", "EmptyDatasetError"},
        "{path} at {revision} does not serve {what}; choose another revision, or download the "
        "files yourself and use `kind: files`",
    ),
    (  # corrupt
        {"Consistency check failed"},
        "the hub sent less of {what} than it announced; run this again",
    ),
    (  # server error
        {*map(str, range(500, 600))},
        "the hub fails (HTTP {status} for {what}, three times); run this again later: files that "
        "are finished are kept",
    ),
    (  # no network
        {"ConnectError", "ConnectTimeout", "ProxyError", "gaierror", "TimeoutException", "GaveUp"}
        | {"Timeout", "RemoteProtocolError", "ReadError", "WriteError", "CloseError"}
        | {"IncompleteRead"},
        "the hub cannot be reached at {endpoint} for {what} ({text}); check network and proxy and "
        "run this again: files that are finished are kept",
    ),
]
UNKNOWN = (
    "the hub's client failed at {what} of {path}: {text}; see `path`, `revision` and `config` in "
    "params.yaml and the variables HF_… and HTTPS_PROXY, then run this again"
)
PHRASES = ("Consistency check failed", "OfflineModeIsEnabled")


@contextmanager
def as_user_error(entry: dict, what: str) -> Iterator[None]:
    """Turn whatever the client raises in the block into one UserError; `what` was being done."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(_message(error, entry, what)) from None


def _message(error: Exception, entry: dict, what: str) -> str:
    from huggingface_hub import constants

    status = next(filter(None, map(status_of, cause_chain(error))), None)
    line = next((line for known, line in LINES if known & {str(status), *_signs(error)}), UNKNOWN)
    return line.format(
        path=entry["path"],
        page=entry.get("page", f"datasets/{entry['path']}"),
        revision=entry["revision"],
        endpoint=constants.ENDPOINT,
        cache=constants.HF_HUB_CACHE,
        status=status,
        what=what,
        text=f"{type(error).__name__}: {str(error).strip()[:300]}",
    )


def _signs(error: Exception) -> set[str]:
    """What an exception is known by: classes along its chain, and phrases where those do not do."""
    chain, text = cause_chain(error), str(error)
    signs = {cls.__name__ for link in chain for cls in type(link).__mro__}
    signs |= {phrase for phrase in PHRASES if phrase in text}
    if any(map(is_full, chain)):
        signs.add("full")
    declared = {cls.__name__ for link in _causes(error) for cls in type(link).__mro__}
    return signs | ({"missing"} if "RemoteEntryNotFoundError" in declared else set())


def _causes(error: BaseException) -> list[BaseException]:
    """An exception and its declared causes alone: `datasets` looks for files that need not be."""
    causes = [error]
    while causes[-1].__cause__ and causes[-1].__cause__ not in causes:
        causes.append(causes[-1].__cause__)
    return causes


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an exception carries, or None."""
    return getattr(getattr(error, "response", None), "status_code", None)


def is_full(error: BaseException) -> bool:
    """Whether it is the disk; the Xet client says so in words alone."""
    full = (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "errno", None) in full or "No space left on device" in str(error)
