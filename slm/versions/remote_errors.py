"""What went wrong with a DVC remote, in one line?

In: any exception out of DVC or of the clients that it uses (asyncssh, botocore, webdav4, aiohttp).
Out: a UserError of one of the kinds in LINES, each with its cure, and never a password. What is of
no kind is said in the client's own words. Exceptions are known by the names of their classes, since
these move between modules, along the chain of causes, as in slm/text/hub/errors.py.
"""

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from slm.core.errors import REPAIRS, UserError, cause_chain
from slm.versions.dvc_internals import Settings

SHIPPED = "prebuilt"  # the remote that is a folder of this repository
SECRETS = {
    "ssh": "keyfile (a private key) or password, and user",
    "s3": "access_key_id and secret_access_key",
    "webdav": "user and password",
    "http": "auth (basic), user and password",
}
# The first line that fits is said. Names are of exception classes and of S3's error codes,
# numbers are HTTP statuses.
LINES: list[tuple[set[str], str]] = [
    (  # full disk
        {"SFTPNoSpaceOnFilesystem", "SFTPQuotaExceeded", "InsufficientStorage", "507"},
        "{remote} has no space left; its owner must make room",
    ),
    (  # no plugin
        {"RemoteMissingDepsError", "ModuleNotFoundError"},
        "{remote} needs a plugin that is not installed; {plugin}",
    ),
    (
        {"RemoteNotFoundError", "NoRemoteError"},
        "{text}; .dvc/config has {known}: say which, `REMOTE=name`, or `dvc remote add <name> "
        "<url>`",
    ),
    (
        {"shipped"},
        "{text} is missing or corrupt, and nothing was changed here; data/prebuilt has the "
        "sample's bins alone: `git restore data/prebuilt` brings back what is shipped, `make pull "
        "REMOTE=name` asks another remote, `make data` builds any",
    ),
    (  # corrupt
        {"CorruptObjectError"},
        "{text} is corrupt, and nothing was changed here; delete it there, and let someone who has "
        "intact bins {push} (a push alone does not replace it)",
    ),
    (  # missing
        {"MissingObjectError"},
        "{remote} has no {text}, and nothing was changed here; someone who has these bins must "
        "{push}",
    ),
    (  # not found
        {"NoSuchBucket", "MissingFolderError", "ResourceConflict"}
        | {"SFTPNoSuchFile", "SFTPNoSuchPath"},
        "{remote} is not there ({text}); correct its url (`dvc remote modify {name} url …`), make "
        "that bucket or folder, or push there first",
    ),
    (  # no access to write
        {"read-only"},
        "{remote} lets you read and not write ({text}); ask its owner for the right to write, or "
        "push to another",
    ),
    (  # another protocol
        {"speaks TLS"},
        "{remote} speaks TLS; write {secure} in its url (`dvc remote modify {name} url …`) or "
        "endpointurl",
    ),
    (  # no access
        {"keyfile", "KeyImportError", "KeyEncryptionError", "no password"}
        | {"NoCredentialsError", "PartialCredentialsError", "PermissionDenied"}
        | {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "AccessDenied"}
        | {"SFTPPermissionDenied", "PermissionError", "401", "403"},
        "{remote} does not let you in ({text}); set {secret} with `dvc remote modify --local "
        "{name} …`, or ask its owner for access",
    ),
    (  # no network
        {"gaierror", "SSLError", "CertificateError", "TimeoutError", "TimeoutException"}
        | {"ReadTimeoutError", "ConnectTimeoutError", "ConnectionError", "ConnectError"}
        | {"EndpointConnectionError", "ConnectionLost", "DisconnectError", "TransportError"}
        | {"SFTPConnectionLost", "SFTPNoConnection", "ClientConnectionError", "HTTPClientError"}
        | {"ClientPayloadError", "IncompleteReadError"},
        "{remote} cannot be reached ({text}); check its url (`dvc remote modify {name} url …`), "
        "the network and the server, then run this again: objects that are finished are kept",
    ),
    ({*map(str, range(500, 600))}, "the server of {remote} fails (HTTP {status}); try again later"),
]
# Set-up has the plugins of those kinds that SECRETS names.
PLUGIN = '`make setup` installs it, or elsewhere `pip install -e ".[{scheme}]"`'
PLAIN = re.compile("(http|webdav)://")
UNKNOWN = "{remote} failed: {text}; see `dvc remote list` and its settings in .dvc/config"


WRITE = {"SFTPPermissionDenied", "SFTPWriteProtect", "AccessDenied", "403", "405"}
READ_ONLY = {"PermissionError"} | WRITE  # signs of it, while something is written after a look
NETWORK = LINES[-2][0]
WRITING = "while_writing"  # the attribute of an error that came so


@contextmanager
def writing() -> Iterator[None]:
    """For a block that writes to a remote which could be read: its errors say so."""
    try:
        yield
    except Exception as error:
        setattr(error, WRITING, True)
        raise


@contextmanager
def as_user_error(config: Settings, remote: str | None) -> Iterator[None]:
    """Turn what DVC or a client raises in the block into one UserError about this remote.

    What concerns this machine's own files (no space, no right) passes: `run_main` says it.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if type(error).__module__ == "builtins" and getattr(error, "errno", None) in REPAIRS:
            raise
        name = remote or config["core"].get("remote") or ""
        raise UserError(_message(error, name, config["remote"])) from None


def _message(error: Exception, name: str, remotes: Settings) -> str:
    config = remotes.get(name.lower(), {})
    url, chain = config.get("url", ""), cause_chain(error)
    scheme = url.partition("://")[0] if "://" in url else "folder"
    scheme = {"https": "http", "webdavs": "webdav"}.get(scheme, scheme)
    status = next(filter(None, map(_status, chain)), None)
    signs = {sign for link in chain for sign in _signs(link, config)} | {status or ""}
    if name == SHIPPED and signs & {"CorruptObjectError", "MissingObjectError"}:
        signs.add("shipped")
    if any(getattr(link, WRITING, False) for link in chain) and signs & READ_ONLY:
        signs.add("read-only")
    endpoint_url = config.get("endpointurl", url)
    if signs & (NETWORK | {"400"}) and PLAIN.match(endpoint_url) and speaks_tls(endpoint_url):
        signs.add("speaks TLS")
    line = next((line for known, line in LINES if known & signs), UNKNOWN)
    text = str(error).strip()[:300]  # a client's may say little: its class is said, too
    ours = type(error).__module__.startswith(("slm.", "dvc."))
    by_hand = "push them the way that its folder is filled"  # HTTP is read-only
    endpoint = f" at {config['endpointurl']}" if "endpointurl" in config else ""
    message = line.format(
        remote=f"remote {name} ({url}{endpoint})",
        push=by_hand if scheme == "http" else f"`make push REMOTE={name}`",
        name=name,
        plugin=(PLUGIN if scheme in SECRETS else "`pip install dvc-{scheme}`").format(
            scheme=scheme
        ),
        secure=re.sub(r"^(http|webdav)://.*", r"\1s://", endpoint_url),
        secret=SECRETS.get(scheme, "the owner and mode of the folder"),
        known=", ".join(sorted(remotes)) or "none",
        status=status,
        text=text if ours and text else f"{type(error).__name__}: {text}",
    )
    return re.sub(r"(?<=//)[^/@\s]*@", "", message)  # user and password in a url


def speaks_tls(url: str) -> bool:
    """Whether a TLS server answers where a URL without TLS leads; nothing is sent to it."""
    where = urlsplit(url)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((where.hostname, where.port or 80), 2) as plain:
            context.wrap_socket(plain).close()
    except (OSError, ValueError):
        return False
    return True


def _signs(link: BaseException, config: Settings) -> Iterator[str]:
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


def _status(link: BaseException) -> str | None:
    """The HTTP status that an exception carries, or None."""
    response = getattr(link, "response", None)
    status = getattr(link, "status", None) or getattr(response, "status_code", None)
    return str(status) if isinstance(status, int) else None
