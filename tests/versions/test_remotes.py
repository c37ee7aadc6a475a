"""Bins go to remotes of every kind and come back equal, and what goes wrong is one line."""

import itertools
import os
import re
import shlex
import shutil
import socket
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from slm.core.errors import UserError
from slm.core.files import md5_of
from slm.versions.cache import all_objects, corrupt_objects
from slm.versions.lock import locked_hash
from slm.versions.objects import remote_store
from slm.versions.pipeline import open_repo
from slm.versions.remote import locked, pull, push
from slm.versions.verify import damaged
from tests.helpers import one_line
from tests.pages import blocks
from tests.versions import remote_servers
from tests.versions.remote_servers import Server
from tests.workspace import ROOT, git, hashes, script

pytestmark = [
    pytest.mark.remotes,
    pytest.mark.filterwarnings("ignore:.*[Aa]uth.*:DeprecationWarning"),  # DVC's use of aiohttp
]
KINDS = ["folder", "ssh", "s3", "webdav", "http"]
SERVED = KINDS[1:]
WAYS = [(kind, do) for kind in SERVED for do in (pull, push) if (kind, do) != ("http", push)]
WRITABLE = KINDS[:-1]
BINS, CACHE = Path("data/sample/bins"), Path(".dvc/cache/files/md5")


@pytest.fixture(scope="module")
def built(small_sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with small bins, committed."""
    return shutil.copytree(small_sample, tmp_path_factory.mktemp("built") / "clone", symlinks=True)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, built: Path) -> Iterator[dict[str, Server]]:
    """A server of each kind that holds the bins: HTTP's was filled by hand, as its owner does."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_MAX_ATTEMPTS", "1")  # or a server that is down costs ten seconds
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        found = {
            "folder": remote_servers.on_disk(
                folders["folder"], {"url": str(folders["folder"])}, {}
            ),
            "ssh": stack.enter_context(
                remote_servers.ssh(folders["ssh"], tmp_path_factory.mktemp("keys"))
            ),
            "s3": stack.enter_context(remote_servers.s3()),
            "webdav": stack.enter_context(remote_servers.webdav(folders["webdav"])),
            "http": stack.enter_context(remote_servers.web(folders["http"])),
        }
        patch.chdir(built)
        for kind in WRITABLE:
            set_remote(built, kind, found[kind])
            assert push("sample", kind) == 6
        for name in found["folder"].names():
            found["http"].write(name, found["folder"].read(name))
        yield found


@pytest.fixture
def clone(tmp_path: Path, built: Path, servers, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh clone, the working directory, with the remotes of all kinds set."""
    git(built, "clone", "-q", str(built), str(tmp_path / "clone"))
    monkeypatch.chdir(tmp_path / "clone")
    for kind, server in servers.items():
        set_remote(tmp_path / "clone", kind, server)
    return tmp_path / "clone"


def set_remote(folder: Path, name: str, server: Server, **changed: str | None) -> None:
    """Write a remote into .dvc/config.local, with some settings changed, or away (None)."""
    settings = {"verify": "true", **server.config, **server.secrets, **changed}
    lines = [f"    {key} = {value}\n" for key, value in settings.items() if value is not None]
    with (folder / ".dvc/config.local").open("a") as file:
        file.write(f"['remote \"{name}\"']\n{''.join(lines)}")


def object_of(built: Path, file: str) -> str:
    """The name on a remote of the object that holds `file` of the bins, or of their `listing`."""
    locked = locked_hash(built / "dvc.lock", "bins@sample", str(BINS))
    found = locked if file == "listing" else md5_of(built / BINS / file)
    return f"files/md5/{found[:2]}/{found[2:]}"


def refused(do: Callable[[str, str], object], remote: str) -> str:
    """The one line that `pull` or `push` says."""
    with pytest.raises(UserError) as error:
        do("sample", remote)
    return one_line(error)


@contextmanager
def spoilt(server: Server, name: str, content: bytes | None) -> Iterator[None]:
    """The block runs while an object of a server is another one, or is missing (None)."""
    whole = server.read(name)
    server.remove(name)
    if content is not None:
        server.write(name, content)
    try:
        yield
    finally:
        server.write(name, whole)


@pytest.mark.parametrize("kind", KINDS)
def test_pulled_bins_equal_those_that_were_built(kind, built, clone):
    assert pull("sample", kind)
    assert hashes(BINS) == hashes(built / BINS)
    assert damaged(BINS, [locked("sample")]) == []
    assert not pull("sample", kind), "a second pull has nothing to do"
    assert git(clone, "status", "--porcelain") == ""


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES = {
    "one bit flipped": flipped,
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_corrupt_object_is_refused_and_named_and_not_kept(kind, built, clone, servers):
    set_remote(clone, "checked", servers[kind], verify="true")
    set_remote(clone, "believed", servers[kind], verify="false")
    cases = [("train.bin", "checked"), ("train.bin", "believed"), ("listing", "believed")]
    for (file, remote), damage in itertools.product(cases, DAMAGES.values()):
        name = object_of(built, file)
        shutil.rmtree(".dvc/cache", ignore_errors=True)
        with spoilt(servers[kind], name, damage(servers[kind].read(name))):
            said = refused(pull, remote)
        assert f"{name} is corrupt" in said and "delete it there" in said
        assert kind == "http" or f"make push REMOTE={remote}" in said
        assert not BINS.exists() and not corrupt_objects(CACHE, all_objects(CACHE))
    assert pull("sample", "believed")
    assert hashes(BINS) == hashes(built / BINS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_pull_leaves_the_bins_that_were_there(kind, built, clone, servers):
    shutil.copytree(built / BINS, BINS)
    (BINS / "validation.bin").write_bytes(b"older")
    before, name = hashes(BINS), object_of(built, "train.bin")
    for content in (b"other", None):
        with spoilt(servers[kind], name, content):
            refused(pull, kind)
        assert hashes(BINS) == before
    assert pull("sample", kind)
    assert hashes(BINS) == hashes(built / BINS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_object_is_named(kind, built, clone, servers):
    for file in ("listing", "train.bin"):
        name = object_of(built, file)
        with spoilt(servers[kind], name, None):
            said = refused(pull, kind)
        assert "has no " in said and f"{name}, and nothing was changed" in said
        assert kind == "http" or f"make push REMOTE={kind}" in said


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_ends_with_status_1_and_one_line(kind, built, clone, servers):
    name = object_of(built, "train.docs.npy")
    with spoilt(servers[kind], name, b""):
        said = script(clone, "pull", "--remote", kind, fails=True)
    assert said.startswith("error: ") and f"{name} is corrupt" in said
    assert len(said.splitlines()) == 1, said


@pytest.mark.parametrize("kind", WRITABLE)
def test_a_push_replaces_what_an_interrupted_one_left(kind, built, clone, servers, monkeypatch):
    monkeypatch.chdir(built)
    name = object_of(built, "train.bin")
    whole = servers[kind].read(name)
    assert push("sample", kind) == 0
    for content in (whole[:7], None):
        with spoilt(servers[kind], name, content):
            assert push("sample", kind) == 1
            assert servers[kind].read(name) == whole


def test_a_server_that_poses_as_ours_does_not_get_the_users_agent(clone):
    with open_repo() as repo:
        assert remote_store(repo, "ssh").fs.fs_args["agent_forwarding"] is False


def test_a_push_over_http_is_refused(built, clone, monkeypatch):
    shutil.copytree(built / BINS, BINS)
    assert "read-only" in refused(push, "http")


def elsewhere(kind: str, server: Server, host: str, port: int) -> dict[str, str]:
    """The settings of a remote whose server is at another host and port."""
    if kind == "s3":
        return {"endpointurl": f"http://{host}:{port}"}
    url = re.sub("127.0.0.1(:[0-9]+)?", f"{host}:{port}", server.config["url"])
    return {"url": url, **({"port": str(port)} if kind == "ssh" else {})}


@pytest.mark.parametrize(("kind", "do"), WAYS)
def test_a_server_that_is_down_is_told_from_one_without_the_bins(kind, do, built, clone, servers):
    if do is push:
        shutil.copytree(built / BINS, BINS)
    port = remote_servers.free_port()
    set_remote(clone, "down", servers[kind], **elsewhere(kind, servers[kind], "127.0.0.1", port))
    assert "cannot be reached (" in refused(do, "down")


@pytest.mark.parametrize("kind", SERVED)
def test_an_unknown_host_is_said(kind, clone, servers, monkeypatch):
    known = socket.getaddrinfo

    def resolve(host, *words, **named):
        if str(host) == "no.such.host":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known(host, *words, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    set_remote(clone, "far", servers[kind], **elsewhere(kind, servers[kind], "no.such.host", 9))
    said = refused(pull, "far")
    assert "remote far (" in said and "cannot be reached (" in said


@pytest.mark.parametrize("kind", ["ssh", "webdav"])  # the other clients try again for long
def test_a_server_that_does_not_answer_is_said(kind, clone, servers):
    with remote_servers.silent_port() as port:
        settings = elsewhere(kind, servers[kind], "127.0.0.1", port)
        set_remote(clone, "silent", servers[kind], timeout="1", **settings)
        assert "cannot be reached (" in refused(pull, "silent")


def wrong_key(kind: str, server: Server) -> dict[str, str]:
    """The settings of a remote with credentials that its server does not know."""
    if kind == "ssh":
        return {"keyfile": str(Path(server.secrets["keyfile"]).with_name("other"))}
    return {"secret_access_key": "wrong"} if kind == "s3" else {"password": "wrong"}


@pytest.mark.parametrize(("kind", "do"), WAYS)
def test_a_wrong_key_is_said_and_no_secret_is(kind, do, built, clone, servers):
    if do is push:
        shutil.copytree(built / BINS, BINS)
    set_remote(clone, "closed", servers[kind], **wrong_key(kind, servers[kind]))
    said = refused(do, "closed")
    assert "does not let you in" in said and "dvc remote modify --local closed" in said
    assert not any(value in said for value in servers[kind].secrets.values())


def test_missing_credentials_are_said(clone, servers, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    set_remote(clone, "a", servers["s3"], access_key_id=None, secret_access_key=None)
    assert "access_key_id and secret_access_key" in refused(pull, "a")
    set_remote(clone, "b", servers["webdav"], password=None)
    assert "set user and password with `dvc remote modify --local b …`" in refused(pull, "b")
    set_remote(clone, "c", servers["http"], password=None)
    assert "require both 'user' and 'password'" in refused(pull, "c")
    set_remote(clone, "d", servers["ssh"], keyfile="/no/such/key")
    assert "/no/such/key" in (said := refused(pull, "d")) and "set keyfile" in said


def test_a_missing_bucket_or_folder_is_said(built, clone, servers):
    for kind in KINDS:
        url = re.sub("bins|folder0", "none", servers[kind].config["url"])
        set_remote(clone, f"{kind}-none", servers[kind], url=url)
        said = refused(pull, f"{kind}-none")
        assert ("has no " if kind == "http" else "is not there") in said and "/none" in said
    shutil.copytree(built / BINS, BINS)
    for kind in ("s3", "webdav"):  # over SSH and in a folder it is made
        assert "is not there" in refused(push, f"{kind}-none")


def test_an_unknown_remote_is_said_with_the_known_ones(clone):
    said = refused(pull, "nobody")
    assert "remote 'nobody' doesn't exist; .dvc/config has " in said and "REMOTE=name" in said
    assert "folder, http, prebuilt, s3, ssh, webdav" in said


@pytest.mark.parametrize("kind", ["ssh", "s3", "webdav"])
def test_a_missing_plugin_is_said_with_the_command_that_installs_it(kind, clone, monkeypatch):
    monkeypatch.setitem(sys.modules, f"dvc_{kind}", None)
    said = refused(pull, kind)
    assert f'`pip install -e ".[{kind}]"`' in said
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert extras["optional-dependencies"][kind][0].startswith(f"dvc-{kind}")


def test_the_commands_of_the_pages_share_bins(built, clone, servers):
    """Each block that sets a remote up, with a server of this test in the place of the reader's."""
    from dvc.cli import main

    shutil.copytree(built / BINS, BINS)
    for kind, block in zip(KINDS, blocks("bash"), strict=True):
        Path(".dvc/config.local").unlink(missing_ok=True)
        git(clone, "checkout", ".dvc/config")
        for example, true in places(kind, servers[kind]).items():
            assert example in block
            block = block.replace(example, true)
        for words in map(shlex.split, block.splitlines()):
            if words[0] == "dvc":
                assert main(words[1:]) == 0, words
            else:
                do = {"pull": pull, "push": push}[words[1]]
                do("sample", words[2].removeprefix("REMOTE="))
        secrets = servers[kind].secrets.values()
        assert not any(secret in Path(".dvc/config").read_text() for secret in secrets)
        assert git(clone, "status", "--porcelain") == " M .dvc/config\n"
        shutil.rmtree(BINS)
        shutil.rmtree(".dvc/cache", ignore_errors=True)
        assert pull("sample", "ours")
        assert hashes(BINS) == hashes(built / BINS)


def places(kind: str, server: Server) -> dict[str, str]:
    """What the page has for a place or a secret, and what it is in this test."""
    url, secrets = server.config["url"], server.secrets
    if kind == "ssh":
        host = url.replace("127.0.0.1", f"127.0.0.1:{server.config['port']}")
        return {"ssh://me@host.example.org/srv/slm": host, "~/.ssh/id_ed25519": secrets["keyfile"]}
    if kind == "s3":
        found = {"s3://bucket/slm": url, "https://s3.example.org": server.config["endpointurl"]}
        return {**found, "KEY-ID": secrets["access_key_id"], "KEY": secrets["secret_access_key"]}
    if kind == "folder":
        return {"/shared/slm": url}
    old = "webdavs://dav.example.org/slm" if kind == "webdav" else "https://www.example.org/slm"
    return {old: url, " me": " someone", "PASSWORD": secrets["password"]}


def test_a_wrong_password_is_said_and_nobody_is_asked(clone, servers, monkeypatch):
    """Over SSH DVC would ask for another on the terminal."""

    def asked(*_: object) -> str:
        raise AssertionError("the terminal was asked")

    monkeypatch.setattr("getpass.getpass", asked)
    wrong = {"keyfile": None, "password": "wrong"}
    set_remote(clone, "closed", servers["ssh"], **wrong)
    said = refused(pull, "closed")
    assert "does not let you in" in said and "keyfile (a private key) or password" in said


@pytest.mark.parametrize("kind", ["ssh", "webdav"])
def test_a_server_that_is_read_only_is_said(kind, built, clone, servers, tmp_path, monkeypatch):
    shutil.copytree(built / BINS, BINS)
    servers[kind].write("new/there", b"")
    set_remote(clone, "shown", servers[kind], url=f"{servers[kind].config['url']}/new")
    if kind == "ssh":
        import asyncssh

        def refuse(*_: object) -> None:
            raise asyncssh.SFTPPermissionDenied("read-only")

        for name in ("mkdir", "makedirs", "open56", "open"):
            if hasattr(asyncssh.SFTPServer, name):
                monkeypatch.setattr(asyncssh.SFTPServer, name, refuse)
    else:
        from wsgidav.fs_dav_provider import FilesystemProvider

        monkeypatch.setattr(FilesystemProvider, "is_readonly", lambda _self: True)
    said = refused(push, "shown")
    assert "lets you read and not write" in said and "ask its owner for the right" in said


@pytest.mark.parametrize("kind", ["http", "webdav", "s3"])
def test_http_to_a_tls_port_names_https(kind, clone, servers, tmp_path):
    with tls_port(tmp_path) as port:
        set_remote(
            clone, "plain", servers[kind], **elsewhere(kind, servers[kind], "127.0.0.1", port)
        )
        said = refused(pull, "plain")
    scheme = "webdavs" if kind == "webdav" else "https"
    assert f"speaks TLS; write {scheme}:// in its url" in said


@contextmanager
def tls_port(folder: Path) -> Iterator[int]:
    """A port on which TLS is spoken, and nothing else."""
    import datetime
    import ssl
    import threading

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes as kinds
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime(2026, 1, 1)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now.replace(year=2046))
    (folder / "cert").write_bytes(
        made.sign(key, kinds.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    (folder / "key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert", folder / "key")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)

        def serve() -> None:
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                try:
                    context.wrap_socket(plain, server_side=True).close()
                except OSError:
                    plain.close()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
