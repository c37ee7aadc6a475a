"""How the stand-in for the hub answers one request, as the hub does."""

import json
import re
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub_files import File, described, entries

PART = 2**16  # bytes sent at a time where something may go wrong between them


class Disturbance(Protocol):
    """What goes wrong with one request."""

    def answer(self, handler: "Handler") -> bool:
        """Answer in place of the hub; False where it answers itself."""

    def write(self, handler: "Handler", at: int, part: bytes) -> bool:
        """Write the bytes of a body from `at` on in place of the hub; False where it does."""


class Handler(BaseHTTPRequestHandler):
    hub: Any  # the HubServer that it answers for
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
        request = f"{self.command} {unquote(path)}"
        self.hub.note(request, token)
        self.fault = self.hub.disturbance(request)
        try:
            if not (self.fault and self.fault.answer(self)):
                self._route(path, parse_qs(body.decode()), token)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _route(self, path: str, form: dict, token: str | None) -> None:
        if path.startswith("/files/"):
            file = self.hub.files.get(path.rsplit("/", 1)[1])
            return self._body(file) if file else self.send(403, {"error": "Expired"})
        more = r"(?:/(\w[\w-]*)/([^/]+)(?:/(.*))?)?"
        asked = re.fullmatch(rf"/api/(?:datasets|models)/([^/]+/[^/]+){more}", path)
        asked = asked or re.fullmatch(r"/(?:datasets/)?([^/]+/[^/]+)/(resolve)/([^/]+)/(.+)", path)
        if not asked:
            return self.send(404, {"error": "Not found"})
        name, what, revision, rest = (unquote(part or "") for part in asked.groups())
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and not token):
            return self.refuse(401, "RepoNotFound", "Invalid username or password.")
        if repository.gated and what == "resolve" and not token:
            return self.refuse(403, "GatedRepo", f"Access to dataset {name} is restricted.")
        commit = repository.refs.get(revision or "main", revision)
        if commit not in repository.commits:
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        files = repository.commits[commit]
        if what == "resolve":
            return self._resolve(files.get(rest), commit)
        if what == "tree":
            return self._tree(files, rest)
        if what == "paths-info":
            return self.send(200, entries(files, form.get("paths", [])))
        siblings = [
            {"rfilename": name, **described(file, "sha256")} for name, file in files.items()
        ]
        info = {"_id": "0", "id": name, "sha": commit, "private": repository.private, "tags": []}
        more = {"gated": repository.gated, "disabled": False, "downloads": 0, "likes": 0}
        return self.send(200, {**info, **more, "siblings": siblings})

    def _tree(self, files: dict[str, File], folder: str) -> None:
        below = [name for name in files if name.startswith(f"{folder}/" if folder else "")]
        folders = {str(p) for name in below for p in Path(name).parents if str(p) != "."}
        paths = [p for p in sorted({*below, *folders}) if p != folder and p.startswith(folder)]
        if "recursive=true" not in self.path.lower():
            paths = [p for p in paths if "/" not in p.removeprefix(folder).lstrip("/")]
        if folder and not below:
            return self.refuse(404, "EntryNotFound", f"{folder} does not exist")
        return self.send(200, entries(files, paths))

    def _resolve(self, file: File | None, commit: str) -> None:
        if file is None:
            return self.refuse(404, "EntryNotFound", "Entry not found", commit)
        if not file.lfs:
            return self._body(file, {"X-Repo-Commit": commit, "ETag": f'"{file.git}"'})
        headers = {
            "X-Repo-Commit": commit,
            "X-Linked-Etag": f'"{file.sha256}"',
            "X-Linked-Size": str(file.size),
            "Location": f"http://localhost:{self.hub.port}/files/{file.sha256}",
        }
        return self.send(302, None, headers)

    def refuse(self, status: int, code: str, message: str, commit: str | None = None) -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        self.send(status, {"error": message}, {**headers, "X-Repo-Commit": commit})

    def send(self, status: int, content: object, headers: dict | None = None) -> None:
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
            if not (self.fault and self.fault.write(self, at, part)):
                self.wfile.write(part)
                self.wfile.flush()
