"""What went wrong with the hub, in one line?

In: any exception out of `datasets` or `huggingface_hub`. Out: a UserError that names the cure.
The classes of these exceptions move between modules and versions, so they are known by their
names, along the chain of causes; what is not known at all is one line too.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from slm.core.errors import UserError, cause_chain

# The first line that fits is said. Names are of exception classes, numbers of HTTP statuses.
LINES = [
    (
        {"full"},
        "the disk of {cache} is full; free some space, or set HF_HOME to a folder on another disk: "
        "files that are finished are kept",
    ),
    (
        {"OfflineModeIsEnabled"},
        "HF_HUB_OFFLINE or HF_DATASETS_OFFLINE is set, and {path} at {revision} is not whole and "
        "pinned in {cache}; unset "
        "it, or give {cache} the files",
    ),
    (
        {"GatedRepoError"},
        "{path} is gated: ask for access at {endpoint}/datasets/{path}, then `hf auth login`",
    ),
    (
        {"RevisionNotFoundError"},
        "{path} has no revision {revision}; see {endpoint}/datasets/{path}/commits/main and mend "
        "`revision` in params.yaml",
    ),
    (
        {"RepositoryNotFoundError", "HFValidationError"},
        "the hub has no dataset {path}, or it is private: mend `path` in params.yaml, or "
        "`hf auth login` with an account that may read it",
    ),
    ({401}, "the hub does not accept your token; `hf auth login` sets another"),
    (
        {403},
        "the hub refuses {what} of {path} to you (HTTP 403); `hf auth login`, or ask its owner",
    ),
    ({429}, "the hub asks for fewer requests (HTTP 429); `hf auth login` allows more, or wait"),
    (
        set(range(500, 600)),
        "the hub is out of order (HTTP {status} for {what}, three times); run this again later: "
        "files that are finished are kept",
    ),
    (
        {"ConnectError", "ConnectTimeout", "ProxyError", "gaierror"},
        "the hub cannot be reached at {endpoint}; check network and proxy and run this again: "
        "files that are finished are kept",
    ),
    (
        {"TimeoutException", "GaveUp", "Timeout"},
        "the hub takes connections at {endpoint}, but does not answer ({what}); run this again "
        "later: files that are finished are kept",
    ),
    (
        {"RemoteProtocolError", "ReadError", "WriteError", "CloseError", "IncompleteRead"},
        "the connection to the hub was cut again and again ({what}); run this again: files that "
        "are finished are kept",
    ),
    (
        {"DataFilesNotFoundError", "EmptyDatasetError"},
        "{path} at {revision} has no data files that `datasets` finds; choose another dataset, or "
        "download it yourself and use `kind: files`",
    ),
    (
        {"missing"},
        "{path} at {revision} does not serve {what}; choose another revision in params.yaml",
    ),
    (
        {"Config name is missing"},
        "{path} has several configs; add `config: <name>` to its entry in params.yaml ({text})",
    ),
    ({"BuilderConfig"}, "{path} has no such config; mend `config` in params.yaml ({text})"),
    ({"proxy"}, "the proxy cannot be used; mend HTTPS_PROXY, HTTP_PROXY or ALL_PROXY ({text})"),
    (
        {"Consistency check failed"},
        "the hub sent less of {what} than it announced; run this again",
    ),
]
UNKNOWN = (
    "the hub's client failed at {what} of {path}: {text}; see `path`, `revision` and `config` in "
    "params.yaml and the variables HF_…, then run this again"
)
PHRASES = ("Config name is missing", "Consistency check failed", "BuilderConfig", "proxy")
PHRASES += ("OfflineModeIsEnabled",)


@contextmanager
def as_user_error(entry: dict, what: str) -> Iterator[None]:
    """Turn whatever the client raises in the block into one UserError; `what` was being done."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(_in_words(error, entry, what)) from None


def _in_words(error: Exception, entry: dict, what: str) -> str:
    from huggingface_hub import constants

    status = next(filter(None, map(status_of, cause_chain(error))), None)
    line = next((line for known, line in LINES if known & {status, *_signs(error)}), UNKNOWN)
    return line.format(
        path=entry["path"],
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
    found = [error]
    while found[-1].__cause__ and found[-1].__cause__ not in found:
        found.append(found[-1].__cause__)
    return found


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an exception carries, or None."""
    return getattr(getattr(error, "response", None), "status_code", None)


def is_full(error: BaseException) -> bool:
    """Whether it is the disk; the Xet client says so in words alone."""
    full = (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "errno", None) in full or "No space left on device" in str(error)
