"""An honest stand-in for the Hugging Face hub: one socket, no network.

In: repositories of files, from memory or from disk, each published at a commit, under branches.
Out: what the real client asks of the true hub, answered as the hub answers it: repository and
revision, tree, paths, HEAD and GET of files (Git LFS files by a redirect to another host name,
`localhost` for `127.0.0.1`, with ranges). `requests` holds all that was asked.

    with HubServer() as hub:
        commit = hub.publish("roneneldan/TinyStories", {"data/train-….parquet": Path(…)})
        …  # run the client with **hub.environment(home)
"""

import hashlib
import json
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

from tests.hub_files import File, Repository, describe
from tests.hub_handler import Disturbance, Handler


class HubServer:
    """Serves until its `with` block ends."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.files: dict[str, File] = {}  # Git LFS files by SHA-256
        self.requests: list[str] = []  # "METHOD /path", in order
        self.tokens: list[tuple[str, str | None]] = []  # request, and its Authorization header
        self.closing = threading.Event()
        self.lock = threading.Lock()
        handler = type("Handler", (Handler,), {"hub": self})
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
        private: bool = False,
        gated: bool = False,
    ) -> str:
        """Add a commit that holds `files`, by name in the repository; return its hash.

        A `commit` given stands for a hub that is not honest.
        """
        published = {name: describe(name, content) for name, content in sorted(files.items())}
        listing = json.dumps({name: file.sha256 for name, file in published.items()})
        commit = commit or hashlib.sha1(listing.encode(), usedforsecurity=False).hexdigest()
        repository = self.repositories.setdefault(repo, Repository(private=private, gated=gated))
        repository.commits[commit] = published
        repository.refs[branch] = commit
        self.files |= {file.sha256: file for file in published.values()}
        return commit

    def note(self, request: str, token: str | None) -> None:
        """Record a request."""
        with self.lock:
            self.requests.append(request)
            self.tokens.append((request, token))

    def disturbance(self, request: str) -> Disturbance | None:
        """What goes wrong with a request: nothing here (tests/hub_faults.py has faults)."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_request: object) -> None:
        """Say nothing: a client that was killed is no fault of ours."""
