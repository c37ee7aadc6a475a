"""SSH, S3, WebDAV and HTTP servers on 127.0.0.1, in threads of this process, with nothing shared.

Each is a context manager that gives a `Server`: the lines that name it in .dvc/config and in
.dvc/config.local, and how a test reads and spoils its objects behind DVC's back (S3 keeps them in
memory, the others in the folder that they are given). All want credentials and check them.
"""

import asyncio
import base64
import functools
import http.server
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import requests

ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


class Server(NamedTuple):
    """A running server: how it is reached, and its objects by their names below the url."""

    config: dict[str, str]  # for .dvc/config
    secrets: dict[str, str]  # for .dvc/config.local
    read: Callable[[str], bytes]
    write: Callable[[str, bytes], None]
    remove: Callable[[str], None]
    names: Callable[[], list[str]]


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def on_disk(folder: Path, config: dict[str, str], secrets: dict[str, str]) -> Server:
    """A server whose objects are the files of `folder`."""

    def names() -> list[str]:
        files = (path for path in folder.rglob("*") if path.is_file())
        return sorted(path.relative_to(folder).as_posix() for path in files)

    return Server(
        config,
        secrets,
        lambda name: (folder / name).read_bytes(),
        lambda name, content: _replace(folder / name, content),
        lambda name: (folder / name).unlink(),
        names,
    )


def _replace(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)  # DVC leaves its objects read-only
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@contextmanager
def _in_thread(serve: Callable[[], None], stop: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join(10)


@contextmanager
def ssh(folder: Path, keys: Path) -> Iterator[Server]:
    """An SFTP server that lets in the key `keys`/id; `keys`/other is another key."""
    import asyncssh

    logging.getLogger("asyncssh").setLevel(logging.CRITICAL)
    for name in ("host", "id", "other"):
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(keys / name)
        (keys / name).chmod(0o600)
    allowed = asyncssh.read_private_key(keys / "id").export_public_key().decode()
    options = {
        "server_host_keys": [keys / "host"],
        "authorized_client_keys": asyncssh.import_authorized_keys(allowed),
        "sftp_factory": functools.partial(asyncssh.SFTPServer, chroot=str(folder)),
    }
    loop, started, port = asyncio.new_event_loop(), threading.Event(), free_port()

    async def listen() -> None:
        await asyncssh.listen("127.0.0.1", port, **options)
        started.set()

    def serve() -> None:
        loop.create_task(listen())
        loop.run_forever()

    with _in_thread(serve, lambda: loop.call_soon_threadsafe(loop.stop)):
        assert started.wait(10)
        config = {"url": "ssh://someone@127.0.0.1/bins", "port": str(port)}
        (folder / "bins").mkdir()
        yield on_disk(folder / "bins", config, {"keyfile": str(keys / "id")})


@contextmanager
def webdav(folder: Path) -> Iterator[Server]:
    """A WebDAV server that wants the password `right` of `someone`."""
    from cheroot.wsgi import Server as Wsgi
    from wsgidav.wsgidav_app import WsgiDAVApp

    (folder / "bins").mkdir()
    app = WsgiDAVApp(
        {
            "provider_mapping": {"/": str(folder)},
            "simple_dc": {"user_mapping": {"*": {"someone": {"password": "right"}}}},
            "verbose": 0,
            "logging": {"enable": False},
        }
    )
    server = Wsgi(("127.0.0.1", free_port()), app)
    server.prepare()
    with _in_thread(server.serve, server.stop):
        config = {"url": f"webdav://127.0.0.1:{server.bind_addr[1]}/bins", "user": "someone"}
        yield on_disk(folder / "bins", config, {"password": "right"})


@contextmanager
def web(folder: Path) -> Iterator[Server]:
    """Python's own HTTP server, read-only, that wants the password `right` of `someone`."""
    wanted = "Basic " + base64.b64encode(b"someone:right").decode()

    class Asking(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.headers.get("Authorization") == wanted:
                super().do_GET()
            else:
                self.send_error(401)

        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Asking, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    (folder / "bins").mkdir()
    url = f"http://127.0.0.1:{server.server_port}/bins"
    with _in_thread(server.serve_forever, server.shutdown):
        config = {"url": url, "auth": "basic", "user": "someone"}
        yield on_disk(folder / "bins", config, {"password": "right"})
    server.server_close()


@contextmanager
def s3() -> Iterator[Server]:
    """moto's S3 with a bucket `bins`; it checks the signatures of every request."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        yield _bucket("http://{}:{}".format(*server.get_host_and_port()))
    finally:
        server.stop()


def _bucket(url: str) -> Server:
    import boto3

    def client(service: str, key: str, secret: str):
        keys = {"aws_access_key_id": key, "aws_secret_access_key": secret}
        return boto3.client(service, endpoint_url=url, region_name="us-east-1", **keys)

    plain = {"Content-Type": "text/plain"}
    for path, body in (("reset", b""), ("reset-auth", b"1000")):  # another's users, in this process
        requests.post(f"{url}/moto-api/{path}", body, headers=plain, timeout=10).raise_for_status()
    iam = client("iam", "any", "any")  # until its first user is asked for
    iam.create_user(UserName="someone")
    iam.put_user_policy(UserName="someone", PolicyName="all", PolicyDocument=json.dumps(ALL))
    key = iam.create_access_key(UserName="someone")["AccessKey"]
    key, secret = key["AccessKeyId"], key["SecretAccessKey"]
    requests.post(f"{url}/moto-api/reset-auth", b"0", headers=plain, timeout=10).raise_for_status()
    bucket = client("s3", key, secret)
    bucket.create_bucket(Bucket="bins")

    def names() -> list[str]:
        found = bucket.list_objects_v2(Bucket="bins").get("Contents", [])
        return [entry["Key"].removeprefix("slm/") for entry in found]

    return Server(
        {"url": "s3://bins/slm", "endpointurl": url, "region": "us-east-1"},
        {"access_key_id": key, "secret_access_key": secret},
        lambda name: bucket.get_object(Bucket="bins", Key=f"slm/{name}")["Body"].read(),
        lambda name, content: bucket.put_object(Bucket="bins", Key=f"slm/{name}", Body=content),
        lambda name: bucket.delete_object(Bucket="bins", Key=f"slm/{name}"),
        names,
    )
