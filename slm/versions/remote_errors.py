"""What went wrong with a DVC remote, in one line?

In: any exception out of DVC or of the clients that it uses (asyncssh, botocore, webdav4, aiohttp).
Out: a UserError that names the cure, and never a password. The classes move between modules and
versions, so they are known by their names, along the chain of causes, as in slm/text/hub/errors.py;
what is not known at all is one line too.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slm.core.errors import REPAIRS, UserError, cause_chain

SHIPPED = "prebuilt"  # the remote that is a folder of this repository
SECRETS = {
    "ssh": "keyfile (a private key) and user",
    "s3": "access_key_id and secret_access_key",
    "webdav": "user and password",
    "http": "auth (basic), user and password",
}
# The first line that fits is said. Names are of exception classes and of S3's error codes,
# numbers of HTTP statuses.
LINES = [
    (
        {"SFTPNoSpaceOnFilesystem", "SFTPQuotaExceeded", "InsufficientStorage", 507},
        "{remote} has no space left; its owner must make room",
    ),
    (
        {"RemoteMissingDepsError", "ModuleNotFoundError"},
        "{remote} needs a plugin that is not installed; `make setup` installs it, or in another "
        'environment `pip install -e ".[{scheme}]"`',
    ),
    (
        {"RemoteNotFoundError"},
        "{said}; .dvc/config has {known}: choose one of them, or `dvc remote add <name> <url>`",
    ),
    (
        {"NoRemoteError"},
        "no remote is the default; say which, `make pull REMOTE=name`: .dvc/config has {known}",
    ),
    (
        {"shipped"},
        "{text} is missing or corrupt, and nothing was changed here; data/prebuilt has the "
        "sample's bins alone: `git restore data/prebuilt` brings back what is shipped, `make pull "
        "REMOTE=name` asks another remote, `make data` builds any",
    ),
    (
        {"CorruptObjectError"},
        "{text} is corrupt, and nothing was changed here; delete it there, and let someone who has "
        "these bins whole {push} (a push alone does not replace it)",
    ),
    (
        {"NoSuchBucket", "MissingFolderError", "ResourceConflict"},
        "{remote} has nothing at {place}; mend its url (`dvc remote modify {name} url …`), make "
        "that bucket or folder, or push there first",
    ),
    (
        {"MissingObjectError"},
        "{remote} has no {text}, and nothing was changed here; someone who has these bins must "
        "{push}",
    ),
    (
        {"SFTPNoSuchFile", "SFTPNoSuchPath"},
        "{remote} has no such folder, and none can be made; mend its url "
        "(`dvc remote modify {name} url …`)",
    ),
    (
        {"keyfile"},
        "{remote} has a keyfile that does not exist here; name yours: "
        "`dvc remote modify --local {name} keyfile /path/to/key`",
    ),
    (
        {"KeyImportError", "KeyEncryptionError"},
        "the private key for {remote} cannot be read ({text}); name another as `keyfile`, or have "
        "its passphrase asked for: `dvc remote modify --local {name} ask_passphrase true`",
    ),
    (
        {"NoCredentialsError", "PartialCredentialsError", "no password"},
        "{remote} needs credentials that you have not set: `dvc remote modify --local {name} …` "
        "for {secret}",
    ),
    (
        {"ConfigError"},
        "{remote} is not set up right ({text}); `dvc remote modify {name} …`, secrets with --local",
    ),
    (
        {"PermissionDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", 401},
        "{remote} does not let you in; mend {secret} with `dvc remote modify --local {name} …`, or "
        "ask its owner for access",
    ),
    (
        {"SFTPPermissionDenied", "AccessDenied", "PermissionError", 403},
        "{remote} refuses this to you ({text}); ask its owner, or mend {secret} with "
        "`dvc remote modify --local {name} …`",
    ),
    (
        {"gaierror"},
        "the host of {remote} is not known; mend its url (`dvc remote modify {name} …`), or check "
        "network and proxy",
    ),
    (
        {"SSLError", "CertificateError"},
        "{remote} cannot be talked to over TLS ({text}); mend its url or its certificate, or name "
        "its authority: `dvc remote modify {name} ssl_verify /path/to/ca.pem`",
    ),
    (
        {"TimeoutError", "TimeoutException", "ReadTimeoutError", "ConnectTimeoutError"},
        "{remote} takes connections, but does not answer; run this again later: objects that are "
        "finished are kept",
    ),
    (
        {"ConnectionRefusedError", "ConnectError", "EndpointConnectionError"}
        | {"ClientConnectorError"},
        "{remote} cannot be reached: nothing answers there; check its url and port, the network, "
        "and whether the server runs",
    ),
    (
        {"ConnectionLost", "ConnectionError", "DisconnectError", "TransportError"}
        | {"SFTPConnectionLost", "SFTPNoConnection", "ClientConnectionError", "ClientPayloadError"}
        | {"HTTPClientError", "IncompleteReadError"},
        "the connection to {remote} was cut ({text}); run this again: objects that are finished "
        "are kept",
    ),
    (
        {"SFTPError"},
        "{remote} cannot do that ({text}); is there space, and the right to write?",
    ),
    (set(range(500, 600)), "the server of {remote} is out of order (HTTP {status}); try later"),
]
UNKNOWN = "{remote} failed: {text}; see `dvc remote list` and its settings in .dvc/config"


@contextmanager
def as_user_error(config: dict, remote: str | None) -> Iterator[None]:
    """Turn what DVC or a client raises in the block into one UserError about this remote.

    What concerns this machine's own files (no space, no right) passes: slm.core.errors.door says it.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if type(error).__module__ == "builtins" and getattr(error, "errno", None) in REPAIRS:
            raise
        name = remote or config["core"].get("remote") or ""
        raise UserError(_in_words(error, name, config["remote"])) from None


def _in_words(error: Exception, name: str, remotes: dict) -> str:
    config = remotes.get(name.lower(), {})
    url, chain = config.get("url", ""), cause_chain(error)
    scheme = re.match(r"(?:(\w+?)s?://)?", url)[1] or "folder"
    status = next(filter(None, map(_status, chain)), None)
    signs = {status, *(sign for link in chain for sign in _signs(link, config))}
    if name == SHIPPED and signs & {"CorruptObjectError", "MissingObjectError"}:
        signs.add("shipped")
    line = next((line for known, line in LINES if known & signs), UNKNOWN)
    said = str(error).strip()[:300]
    ours = type(error).__module__.startswith("slm.")
    endpoint = f" at {config['endpointurl']}" if "endpointurl" in config else ""
    again = "push them the way that its folder is filled"
    message = line.format(
        remote=f"remote {name} ({url}{endpoint})",
        push=again if scheme == "http" else f"`make push REMOTE={name}`",
        name=name,
        scheme=scheme,
        place=said if ours else url,
        secret=SECRETS.get(scheme, "the owner and mode of the folder"),
        known=", ".join(sorted(remotes)) or "none",
        status=status,
        said=said,
        text=said if ours else f"{type(error).__name__}: {said}",
    )
    return re.sub(r"(?<=//)[^/@\s]*@", "", message)  # user and password in a url


def _signs(link: BaseException, config: dict) -> Iterator[str]:
    """What one exception of a chain is known by."""
    yield from (cls.__name__ for cls in type(link).__mro__)
    response = getattr(link, "response", None)
    if isinstance(response, dict):  # botocore's, whose classes are few
        yield response.get("Error", {}).get("Code", "")
    keyfile = config.get("keyfile")
    if keyfile and getattr(link, "filename", None) == str(Path(keyfile).expanduser()):
        yield "keyfile"
    if isinstance(link, TypeError) and "user" in config and "password" not in config:
        yield "no password"  # webdav4 hands None to its client


def _status(link: BaseException) -> int | None:
    """The HTTP status that an exception carries, or None."""
    response = getattr(link, "response", None)
    found = getattr(link, "status", None) or getattr(response, "status_code", None)
    return found if isinstance(found, int) else None
