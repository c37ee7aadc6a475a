"""A stand-in for S3: many keys may have one object, and answers go wrong as a test asks.

In: `objects`, by "bucket/key", each bytes or a file. Out: what clients ask to read and write:
HEAD and GET with ranges, If-Match and If-None-Match, lists of keys, PUT in one piece and in parts.
No signature is checked; where `key` is set, requests of another access key are refused. `requests`
holds "METHOD /path" of all that was asked.

    with S3Server() as s3:
        s3.objects["text/a.parquet"] = Path(…)
        …  # run the client with s3.environment()
"""

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class S3Server:
    """Serves until its `with` block ends."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes | Path] = {}
        self.tags: dict[str, str] = {}  # ETags, where they are not of the content
        self.parts: dict[str, dict[int, bytes]] = {}  # of uploads, by their id
        self.requests: list[str] = []
        self.sent = 0  # bytes of objects
        self.faults: list[tuple[str, str, float]] = []  # kind, pattern of "METHOD /path", times
        self.key: str | None = None
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"s3": self}))
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "S3Server":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.socket.close()

    def environment(self, key: str = "someone") -> dict[str, str]:
        """The environment in which a client asks this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }

    def fault(self, kind: str, pattern: str = "", times: float = float("inf")) -> None:
        """Let the next `times` requests that match go wrong: slow_down, cut, short, hang, fail."""
        self.faults.append((kind, pattern, times))

    def disturbed(self, request: str) -> str | None:
        """What goes wrong with a request, if anything."""
        with self.lock:
            self.requests.append(request)
            for number, (kind, pattern, times) in enumerate(self.faults):
                if times > 0 and re.search(pattern, request):
                    self.faults[number] = (kind, pattern, times - 1)
                    return kind
        return None

    def tag(self, name: str) -> str:
        """The ETag of an object."""
        if name not in self.tags:
            content = self.objects[name]
            content = content.read_bytes() if isinstance(content, Path) else content
            self.tags[name] = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return self.tags[name]

    def put(self, name: str, content: bytes) -> None:
        """Have an object, in place of another."""
        with self.lock:
            self.tags.pop(name, None)
            self.objects[name] = content

    def size(self, name: str) -> int:
        """Its length."""
        content = self.objects[name]
        return content.stat().st_size if isinstance(content, Path) else len(content)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_request: object) -> None:
        """Say nothing: a client that was killed is no fault of ours."""


class _Handler(BaseHTTPRequestHandler):
    s3: Any
    protocol_version = "HTTP/1.1"

    def log_message(self, *_words: object) -> None:
        """Say nothing: `requests` has it."""

    def do_HEAD(self) -> None:
        self._answer()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        name, asked = unquote(parts.path).lstrip("/"), parse_qs(parts.query, True)
        body = self._body()
        self.fault = self.s3.disturbed(f"{self.command} /{name}")
        key = re.search(r"Credential=([^/]+)/", self.headers.get("Authorization", ""))
        bucket = name.split("/")[0]
        if self.fault == "hang":
            self.s3.closing.wait()
        elif self.fault == "slow_down":
            self._refuse(503, "SlowDown")
        elif self.fault == "fail":
            self._refuse(500, "InternalError")
        elif self.s3.key and (key is None or key[1] != self.s3.key):
            self._refuse(403, "InvalidAccessKeyId")
        elif not any(known.split("/")[0] == bucket for known in self.s3.objects):
            self._refuse(404, "NoSuchBucket")
        elif self.command in ("PUT", "POST"):
            self._put(name, asked, body)
        elif "list-type" in asked:
            self._list(bucket, asked)
        elif name.rstrip("/") == bucket:
            self._send(200, b"")
        elif name not in self.s3.objects:
            self._refuse(404, "NoSuchKey")
        else:
            self._get(name)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            return self._chunks(self.rfile)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            import io

            return self._chunks(io.BytesIO(body))
        return body

    @staticmethod
    def _chunks(file: Any) -> bytes:
        whole = b""
        while size := int(file.readline().split(b";")[0] or b"0", 16):
            whole += file.read(size)
            file.readline()
        while file.readline().strip():
            pass  # trailers
        return whole

    def _put(self, name: str, asked: dict, body: bytes) -> None:
        if self.headers.get("If-None-Match") == "*" and name in self.s3.objects:
            return self._refuse(412, "PreconditionFailed")
        if "uploads" in asked:
            self.s3.parts[name] = {}
            return self._send(200, f"<R><UploadId>{escape(name)}</UploadId></R>".encode())
        if "partNumber" in asked:
            self.s3.parts[name][int(asked["partNumber"][0])] = body
            return self._send(200, b"", {"ETag": '"part"'})
        if "uploadId" in asked:
            parts = self.s3.parts.pop(name)
            body = b"".join(parts[number] for number in sorted(parts))
        self.s3.put(name, body)
        tag = f'"{self.s3.tag(name)}"'
        return self._send(200, f"<R><ETag>{tag}</ETag></R>".encode(), {"ETag": tag})

    def _list(self, bucket: str, asked: dict) -> None:
        start = f"{bucket}/{asked.get('prefix', [''])[0]}"
        cut = asked.get("delimiter", [""])[0]
        keys, folders = [], dict.fromkeys(())
        for name in sorted(known for known in self.s3.objects if known.startswith(start)):
            rest = name[len(start) :]
            if cut and cut in rest:
                folders[start[len(bucket) + 1 :] + rest.split(cut)[0] + cut] = None
            else:
                keys.append(name)
        listed = "".join(
            f"<Contents><Key>{escape(name[len(bucket) + 1 :])}</Key>"
            f"<Size>{self.s3.size(name)}</Size><ETag>&quot;{self.s3.tag(name)}&quot;</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for name in keys
        )
        listed += "".join(
            f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>"
            for folder in folders
        )
        head = f"<Name>{bucket}</Name><IsTruncated>false</IsTruncated>"
        self._send(200, f"<ListBucketResult>{head}{listed}</ListBucketResult>".encode())

    def _get(self, name: str) -> None:
        size, tag = self.s3.size(name), f'"{self.s3.tag(name)}"'
        if self.headers.get("If-Match", tag).strip('"') != tag.strip('"'):
            return self._refuse(412, "PreconditionFailed")
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        end = min(int(asked[2]) + 1 if asked and asked[2] else size, size)
        if asked and start >= size:
            return self._refuse(416, "InvalidRange")
        if self.fault == "short":
            end = start + (end - start) // 2
        more = {"ETag": tag, "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        if asked:
            more["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self._head(206 if asked else 200, {**more, "Content-Length": str(end - start)})
        if self.command == "HEAD":
            return None
        if self.fault == "cut":
            self.close_connection = True
            end = start + (end - start) // 2
        content = self.s3.objects[name]
        with self.s3.lock:
            self.s3.sent += end - start
        if isinstance(content, Path):
            self.wfile.flush()
            with content.open("rb") as file:
                self.connection.sendfile(file, start, end - start) if end > start else None
        else:
            self.wfile.write(content[start:end])
        return None

    def _refuse(self, status: int, code: str) -> None:
        body = f"<Error><Code>{code}</Code><Message>{code} of the stand-in</Message></Error>"
        self._send(status, body.encode())

    def _send(self, status: int, body: bytes, headers: dict | None = None) -> None:
        more = {"Content-Type": "application/xml", "Content-Length": str(len(body))}
        self._head(status, {**more, **(headers or {})})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, headers: dict) -> None:
        self.send_response(status)
        for header, value in headers.items():
            self.send_header(header, value)
        self.end_headers()
