"""An honest stand-in for the Hugging Face hub, for tests and benchmarks: one socket, no network.

In: repositories of files, from memory or from disk, each published at a commit, under branches.
Out: what the real client asks of the true hub, answered as the hub answers it: repository and
revision, tree, paths, HEAD and GET of files (Git LFS files by a redirect to another host name,
`localhost` for `127.0.0.1`, with ranges). `requests` holds all that was asked. Faults are switched
on by `fault(kind, path=…, times=…)`: the next `times` requests whose method and path match
the pattern meet it.

    with HubServer() as hub:
        commit = hub.publish("roneneldan/TinyStories", {"data/train-….parquet": Path(…)})
        hub.fault("cut", path="GET /files/", at=1000, times=1)
        …  # run the client with **hub.environment(home)
"""

import hashlib
import json
import math
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

PART = 2**16  # bytes sent at a time where a fault may strike between them


@dataclass
class File:
    """A published file: where its bytes are, and its names in git and in Git LFS."""

    content: bytes | Path
    size: int
    git: str  # SHA-1, as git names a blob (of a file on disk: its SHA-256, cut; nobody looks)
    sha256: str
    lfs: bool


@dataclass
class Repository:
    """Commits and the files of each; branches and tags; who may read."""

    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False


@dataclass
class Fault:
    """What goes wrong, for which requests ("METHOD /path" is searched), and how often."""

    kind: str  # status, cut, reset, hang, flip, other, slow, missing
    path: str
    times: float
    at: int = 0  # byte of the body: cut, reset, flip; from there on: slow, hang
    value: int = 0  # status; bytes per second


class HubServer:
    """Serves until its `with` block ends."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.files: dict[str, File] = {}  # Git LFS files by SHA-256
        self.requests: list[str] = []  # "METHOD /path", in order
        self.tokens: list[tuple[str, str | None]] = []  # request, and its Authorization header
        self.faults: list[Fault] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.port = self._server.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.socket.close()  # and not server_close, which would wait for hanging requests

    def environment(self, home: Path) -> dict[str, str]:
        """The environment in which the client asks this hub and keeps its files in `home`."""
        quiet = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        direct = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
        return {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(home), **quiet, **direct}

    def publish(
        self,
        repo: str,
        files: dict[str, bytes | Path],
        branch: str = "main",
        commit: str | None = None,
        **who: bool,
    ) -> str:
        """Add a commit that holds `files`, by name in the repository; return its hash.

        `who`: private=True, gated=True. A `commit` given stands for a hub that is not honest.
        """
        described = {name: _describe(name, content) for name, content in sorted(files.items())}
        listing = json.dumps({name: file.sha256 for name, file in described.items()})
        commit = commit or hashlib.sha1(listing.encode(), usedforsecurity=False).hexdigest()
        repository = self.repositories.setdefault(repo, Repository(**who))
        repository.commits[commit] = described
        repository.refs[branch] = commit
        self.files |= {file.sha256: file for file in described.values()}
        return commit

    def fault(self, kind: str, path: str = "", times: float = math.inf, **more: int) -> None:
        """Let the next `times` requests that match the pattern `path` go wrong."""
        self.faults.append(Fault(kind, path, times, **more))

    def quiet(self) -> None:
        """Forget faults and requests."""
        with self._lock:
            self.faults, self.requests, self.tokens = [], [], []

    def note(self, request: str, token: str | None) -> Fault | None:
        """Record a request; return the fault that it meets."""
        with self._lock:
            self.requests.append(request)
            self.tokens.append((request, token))
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.path, request):
                    fault.times -= 1
                    return fault
        return None


def _describe(name: str, content: bytes | Path) -> File:
    lfs = not name.endswith((".md", ".yaml", ".gitattributes", ".json", ".jsonl", ".csv"))
    if isinstance(content, Path):
        with content.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return File(content, content.stat().st_size, sha256[:40], sha256, lfs)
    git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    return File(content, len(content), git, hashlib.sha256(content).hexdigest(), lfs)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_request: object) -> None:
        """Say nothing: a client that was killed is no fault of ours."""


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"
    wbufsize = PART

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *_words: object) -> None:
        """Say nothing: `requests` has it."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path
        token = self.headers.get("Authorization")
        self.fault = self.hub.note(f"{self.command} {unquote(path)}", token)
        kind = self.fault.kind if self.fault else None
        if kind == "hang" and not self.fault.at:
            self.hub.closing.wait()
            self.close_connection = True
        elif kind == "status":
            self._send(self.fault.value, {"error": "Out of order"})
        elif kind == "missing":
            self._refuse(404, "EntryNotFound", "Entry not found")
        else:
            try:
                self._route(path, parse_qs(body.decode()), token)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

    def _route(self, path: str, form: dict, token: str | None) -> None:
        if path.startswith("/files/"):
            file = self.hub.files.get(path.rsplit("/", 1)[1])
            return self._body(file) if file else self._send(403, {"error": "Expired"})
        asked = re.fullmatch(r"/api/datasets/([^/]+/[^/]+)(?:/(\w[\w-]*)/([^/]+)(?:/(.*))?)?", path)
        asked = asked or re.fullmatch(r"/datasets/([^/]+/[^/]+)/(resolve)/([^/]+)/(.+)", path)
        if not asked:
            return self._send(404, {"error": "Not found"})
        name, what, revision, rest = (unquote(part or "") for part in asked.groups())
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and not token):
            return self._refuse(401, "RepoNotFound", "Invalid username or password.")
        if repository.gated and what == "resolve" and not token:
            return self._refuse(403, "GatedRepo", f"Access to dataset {name} is restricted.")
        commit = repository.refs.get(revision or "main", revision)
        if commit not in repository.commits:
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        files = repository.commits[commit]
        if what == "resolve":
            return self._resolve(files.get(rest), commit)
        if what == "tree":
            return self._tree(files, rest)
        if what == "paths-info":
            return self._send(200, _entries(files, form.get("paths", [])))
        siblings = [
            {"rfilename": name, **_described(file, "sha256")} for name, file in files.items()
        ]
        info = {"_id": "0", "id": name, "sha": commit, "private": repository.private, "tags": []}
        more = {"gated": repository.gated, "disabled": False, "downloads": 0, "likes": 0}
        return self._send(200, {**info, **more, "siblings": siblings})

    def _tree(self, files: dict[str, File], folder: str) -> None:
        below = [name for name in files if name.startswith(f"{folder}/" if folder else "")]
        folders = {str(p) for name in below for p in Path(name).parents if str(p) != "."}
        paths = [p for p in sorted({*below, *folders}) if p != folder and p.startswith(folder)]
        if "recursive=true" not in self.path.lower():
            paths = [p for p in paths if "/" not in p.removeprefix(folder).lstrip("/")]
        if folder and not below:
            return self._refuse(404, "EntryNotFound", f"{folder} does not exist")
        return self._send(200, _entries(files, paths))

    def _resolve(self, file: File | None, commit: str) -> None:
        if file is None:
            return self._refuse(404, "EntryNotFound", "Entry not found", commit)
        if not file.lfs:
            return self._body(file, {"X-Repo-Commit": commit, "ETag": f'"{file.git}"'})
        headers = {
            "X-Repo-Commit": commit,
            "X-Linked-Etag": f'"{file.sha256}"',
            "X-Linked-Size": str(file.size),
            "Location": f"http://localhost:{self.hub.port}/files/{file.sha256}",
        }
        return self._send(302, None, headers)

    def _refuse(self, status: int, code: str, message: str, commit: str | None = None) -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        self._send(status, {"error": message}, {**headers, "X-Repo-Commit": commit})

    def _send(self, status: int, content: object, headers: dict | None = None) -> None:
        body = b"" if content is None else json.dumps(content).encode()
        more = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        self._head(status, {**more, **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, headers: dict) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()

    def _body(self, file: File, headers: dict | None = None) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        end = min(int(asked[2]) + 1, file.size) if asked and asked[2] else file.size
        more = {"Content-Length": str(end - start), "Accept-Ranges": "bytes", **(headers or {})}
        if asked:
            more["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
        self._head(206 if asked else 200, more)
        if self.command != "HEAD":
            self.wfile.flush()
            self._write(file, start, end)

    def _write(self, file: File, start: int, end: int) -> None:
        if isinstance(file.content, Path) and not self.fault:
            with file.content.open("rb") as source:
                self.connection.sendfile(source, start, end - start)
            return
        content = file.content.read_bytes() if isinstance(file.content, Path) else file.content
        for at in range(start, end, PART):
            part = content[at : min(at + PART, end)]
            if not self._strike(at, part):
                self.wfile.write(part)
                self.wfile.flush()

    def _strike(self, at: int, part: bytes) -> bool:
        """Do what the fault does to the bytes from `at` on; return whether they were dealt with."""
        kind, place = (self.fault.kind, self.fault.at - at) if self.fault else (None, 0)
        if kind in ("cut", "reset", "hang") and place < len(part):
            self.wfile.write(part[: max(0, place)])
            self.wfile.flush()
            self._stop(kind)
        if kind == "flip" and 0 <= place < len(part):
            flipped = bytes([part[place] ^ 1])
            self.wfile.write(part[:place] + flipped + part[place + 1 :])
            return True
        if kind == "other":
            self.wfile.write(bytes(len(part)))
            return True
        if kind == "slow" and place <= 0:
            time.sleep(len(part) / self.fault.value)
        return False

    def _stop(self, kind: str) -> None:
        if kind == "hang":
            self.hub.closing.wait()
        if kind == "reset":  # closing sends a reset where nothing may linger
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            socket.close(self.connection.detach())
        raise ConnectionResetError


def _described(file: File, key: str) -> dict:
    lfs = {"size": file.size, key: file.sha256, "pointerSize": 134}
    return {"size": file.size, "blobId": file.git, "lfs": lfs if file.lfs else None}


def _entries(files: dict[str, File], paths: list[str]) -> list[dict]:
    """What the tree and paths-info endpoints say of the paths that exist."""
    found = []
    for path in paths:
        if path in files:
            told = _described(files[path], "oid")
            told["oid"] = told.pop("blobId")
            found.append(
                {"type": "file", "path": path, **{k: v for k, v in told.items() if v is not None}}
            )
        elif any(name.startswith(f"{path}/") for name in files):
            found.append({"type": "directory", "path": path, "oid": "0" * 40, "size": 0})
    return found
