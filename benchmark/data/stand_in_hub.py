"""A stand-in for the Hugging Face hub: the files of one dataset on 127.0.0.1, and no network.

In: Parquet files. Out: the answers to what the hub's client asks of a dataset that it downloads:
its revision, its folders, and the files, as Git LFS has them but without a redirect.
"""

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

REPOSITORY, COMMIT = "someone/stories", "1" * 40


@contextmanager
def serving(files: list[Path], home: Path) -> Iterator[dict[str, str]]:
    """Publish files for the block; yields the environment of a client with its cache in `home`."""
    published = {f"data/{path.name}": (path, _lfs(path)) for path in files}
    handler = type("Handler", (_Handler,), {"published": published})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HOME": str(home),
            **dict.fromkeys(("HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_TELEMETRY"), "1"),
            **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1"),
        }
    finally:
        server.shutdown()
        server.server_close()


def _lfs(path: Path) -> dict:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {"size": path.stat().st_size, "sha256": sha256, "oid": sha256, "pointerSize": 134}


class _Handler(BaseHTTPRequestHandler):
    published: dict[str, tuple[Path, dict]]  # files by name, and what the hub says of each
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        name = path.removeprefix(f"/datasets/{REPOSITORY}/resolve/{COMMIT}/")
        about = {"size": 0, "oid": COMMIT}
        if name in self.published:
            self._file(*self.published[name])
        elif path == f"/api/datasets/{REPOSITORY}/revision/{COMMIT}":
            files = [{"rfilename": name, "lfs": lfs} for name, (_, lfs) in self.published.items()]
            self._json(200, {"_id": "0", "id": REPOSITORY, "sha": COMMIT, "siblings": files})
        elif path == f"/api/datasets/{REPOSITORY}/tree/{COMMIT}":
            self._json(200, [{"type": "directory", "path": "data", **about}])
        elif path == f"/api/datasets/{REPOSITORY}/tree/{COMMIT}/data":
            own = [(name, lfs) for name, (_, lfs) in self.published.items()]
            self._json(200, [{"type": "file", "path": n, **about, "lfs": lfs} for n, lfs in own])
        else:
            self._json(404, {"error": "Not found"}, {"X-Error-Code": "EntryNotFound"})

    do_HEAD = do_GET

    def _file(self, path: Path, lfs: dict) -> None:
        self._head(200, lfs["size"], {"X-Repo-Commit": COMMIT, "ETag": f'"{lfs["sha256"]}"'})
        if self.command == "GET":
            with path.open("rb") as file:
                shutil.copyfileobj(file, self.wfile)

    def _json(self, status: int, content: object, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self._head(status, len(body), {"X-Repo-Commit": COMMIT, **(headers or {})})
        if self.command == "GET":
            self.wfile.write(body)

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Say nothing."""
