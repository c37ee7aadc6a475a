"""The stand-in for the hub, to which a client may also write: commits, LFS uploads and tags.

A token is wanted for each write; `right` is the one that may.
"""

import base64
import json
import re
from urllib.parse import unquote, urlsplit

from tests.hub_files import File, Repository, describe
from tests.hub_handler import Handler
from tests.hub_server import HubServer, _Server

DATASET = r"/api/datasets/([^/]+/[^/]+)"


class WritableHub(HubServer):
    """Serves until its `with` block ends."""

    def __init__(self) -> None:
        super().__init__()
        self._server.socket.close()
        self.uploads: dict[str, bytes] = {}  # by SHA-256
        self.tags: dict[str, set[str]] = {}  # by repository: those of its refs that are tags
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Writes,), {"hub": self}))
        self.port = self._server.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"


class _Writes(Handler):
    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path == "/api/validate-yaml":
            self._body_sent()
            return self.send(200, {"errors": [], "warnings": []})
        tag = re.fullmatch(rf"{DATASET}/(refs|preupload|commit|tag)(?:/(.*))?", path)
        lfs = re.fullmatch(r"/datasets/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path)
        if not (tag or lfs or path.startswith("/upload/")):
            return super()._answer()
        self.hub.note(f"{self.command} {path}", self.headers.get("Authorization"))
        body = self._body_sent()
        if path.startswith("/upload/"):
            self.hub.uploads[path.rsplit("/", 1)[1]] = body
            return self.send(200, {})
        name, what, rest = tag.groups() if tag else (lfs[1], "lfs", "")  # type: ignore[index]
        repository = self.hub.repositories.get(name)
        if repository is None:
            return self.refuse(401, "RepoNotFound", "Invalid username or password.")
        if what != "refs" and self.headers.get("Authorization") != "Bearer right":
            return self.refuse(403, "", "You may not write")
        return getattr(self, f"_{what}")(name, repository, rest, body)

    def _body_sent(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        whole = b""
        while size := int(self.rfile.readline(), 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def _refs(self, name: str, repository: Repository, _rest: str, _body: bytes) -> None:
        tags = self.hub.tags.get(name, set())
        listed = {"branches": [], "tags": [], "converts": [], "pullRequests": []}  # type: ignore[var-annotated]
        for ref, commit in repository.refs.items():
            kind = "tags" if ref in tags else "branches"
            where = f"refs/{'tags' if kind == 'tags' else 'heads'}/{ref}"
            listed[kind].append({"name": ref, "ref": where, "targetCommit": commit})
        self.send(200, listed)

    def _preupload(self, _name: str, _repository: Repository, _rest: str, body: bytes) -> None:
        asked = json.loads(body)["files"]
        modes = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if describe(file["path"], b"").lfs else "regular",
                "shouldIgnore": False,
            }
            for file in asked
        ]
        self.send(200, {"files": modes})

    def _lfs(self, _name: str, _repository: Repository, _rest: str, body: bytes) -> None:
        objects = []
        for asked in json.loads(body)["objects"]:
            one = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in self.hub.files:
                one["actions"] = {"upload": {"href": f"{self.hub.endpoint}/upload/{asked['oid']}"}}
            objects.append(one)
        self.send(200, {"transfer": "basic", "objects": objects})

    def _commit(self, name: str, repository: Repository, rest: str, body: bytes) -> None:
        files: dict[str, bytes | File] = dict(repository.commits[repository.refs[rest]])
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del files[value["path"]]
            elif line["key"] == "lfsFile":
                known = self.hub.files.get(value["oid"])
                files[value["path"]] = known or self.hub.uploads[value["oid"]]
        contents = {path: of.content if isinstance(of, File) else of for path, of in files.items()}
        commit = self.hub.publish(name, contents, rest)
        url = f"{self.hub.endpoint}/datasets/{name}/commit/{commit}"
        self.send(200, {"commitUrl": url, "commitOid": commit, "hookOutput": "", "success": True})

    def _tag(self, name: str, repository: Repository, rest: str, body: bytes) -> None:
        tag = json.loads(body)["tag"]
        repository.refs[tag] = repository.refs.get(rest, rest)
        self.hub.tags.setdefault(name, set()).add(tag)
        self.send(200, {})
