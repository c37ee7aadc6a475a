"""Who speaks to a server of text, and what is said when it fails?

In: a URL. Out: fsspec's file system for it, with credentials as that client finds them (for S3 the
variables AWS_… and ~/.aws). What a client raises becomes one line with its cure.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from slm.core.errors import UserError, brief, cause_chain, check

# The package that speaks it, by scheme.
CLIENTS = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "hf": "huggingface_hub",
    "file": "fsspec",
    "http": "aiohttp",
    "https": "aiohttp",
}
# A server that asks for fewer requests is waited for; one that is silent for so long is gone.
RETRIES = {"mode": "standard", "total_max_attempts": 4}
LIMITS = {"retries": RETRIES, "connect_timeout": 5, "read_timeout": 15}
AGAIN = "run the same command again: what is finished is kept"
TAKE = "`dvc repro --force download`, with the dataset named in params.yaml, takes it as it is"
BUSY = re.compile("SlowDown|TooManyRequests|RequestLimit|Throttl|reduce your request rate|429")
NO_ACCESS = {  # names of classes
    "CredentialRetrievalError",
    "NoCredentialsError",
    "PartialCredentialsError",
    "PermissionError",
    "ProfileNotFound",
    "TokenRetrievalError",
}


class Gone(UserError):
    """There is nothing at a URL."""


def is_url(name: str) -> bool:
    """Whether a name is a URL, and not that of a file below source/."""
    return "://" in name


def check_url(url: str) -> None:
    """Raises UserError if it is no URL that is read here."""
    parts = urlsplit(url)
    known = parts.scheme in CLIENTS
    check(known, f"{url} is of no scheme that is read here ({', '.join(CLIENTS)})")
    check(
        "@" not in parts.netloc,
        f"a URL of {parts.hostname} has a user or a password in it, which would be published with "
        "the bins; give credentials to the client",
    )


def file_system(url: str) -> Any:
    """Returns fsspec's file system for a URL."""
    with in_words(url):
        return _made(urlsplit(url).scheme, os.getpid())


@cache
def _made(scheme: str, _process: int) -> Any:
    """A client of a process: it has a thread, which a fork does not take along."""
    import fsspec

    more = {"config_kwargs": LIMITS} if scheme == "s3" else {}
    return fsspec.filesystem(scheme, use_listings_cache=False, **more)


@contextmanager
def in_words(url: str) -> Iterator[None]:
    """Turns whatever a client raises in the block into a UserError about `url`."""
    try:
        yield
    except (UserError, TypeError, AttributeError, NameError):  # the latter are ours
        raise
    except Exception as error:
        kind = Gone if isinstance(error, FileNotFoundError) else UserError
        raise kind(_message(url, error)) from None


def _message(url: str, error: Exception) -> str:
    kinds = {kind.__name__ for link in cause_chain(error) for kind in type(link).__mro__}
    said = brief(error)
    if "ImportError" in kinds:
        scheme = urlsplit(url).scheme
        return f"{url} needs {CLIENTS[scheme]}: `pip install {CLIENTS[scheme]}` into .venv ({said})"
    if "FileNotFoundError" in kinds:
        return f"{url} is not there; correct that URL ({said})"
    if kinds & NO_ACCESS:
        return (
            f"{url} is refused to you ({said}); give its client your credentials: for S3 "
            "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or for what is public "
            "FSSPEC_S3_ANON=true"
        )
    if "PreconditionFailed" in said or "FileExpired" in kinds:
        return f"{url} has changed since it was found; {TAKE}"
    if "seek streaming" in said or "range requests" in said:
        return f"{url}: its server serves no ranges; put the file into source/"
    if BUSY.search(said):
        return f"the server of {url} asks for fewer requests ({said}); wait, and {AGAIN}"
    return (
        f"{url} cannot be read or written ({said}); check the network and the server's address, "
        f"and {AGAIN}"
    )
