"""A web server on 127.0.0.1 with the manners and the faults of real ones."""

import contextlib
import http.server
import threading
from dataclasses import dataclass, field
from email.utils import formatdate


@dataclass
class Fault:
    """A wrong answer: another status, fewer bytes than announced, a redirect, headers of its own."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut_after: int | None = None


@dataclass
class Site:
    """Files by path, each with an ETag, and the faults of the next answers (None: a right one)."""

    address: str
    files: dict[str, bytes] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    faults: list[Fault | None] = field(default_factory=list)
    ranges: bool = True
    modified: str = formatdate(1_700_000_000, usegmt=True)
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, Range

    def put(self, path: str, content: bytes) -> str:
        """Serve a file; its URL."""
        self.files[path], self.etags[path] = content, f'"{len(self.etags)}-{hash(content)}"'
        return f"{self.address}{path}"

    @property
    def ranges_asked(self) -> list[str]:
        return [span for method, _, span in self.requests if method == "GET"]


@contextlib.contextmanager
def serve():
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, body):
            site.requests.append((self.command, self.path, self.headers.get("Range", "")))
            fault = site.faults.pop(0) if site.faults and body else None
            self.close_connection = True
            if fault and fault.status:
                return self.give(fault.status, fault.headers, fault.body)
            content = site.files.get(self.path.partition("?")[0])
            if content is None:
                return self.give(404, {}, b"not here")
            etag = site.etags[self.path.partition("?")[0]]
            headers = {"ETag": etag, "Last-Modified": site.modified} | (fault.headers if fault else {})
            status, start = 200, 0
            wanted = self.headers.get("Range", "")
            if wanted and site.ranges and self.headers.get("If-Range", etag) in (etag, site.modified):
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                if start >= len(content):
                    return self.give(416, {"Content-Range": f"bytes */{len(content)}"}, b"")
                status = 206
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            rest = content[start:]
            headers.setdefault("Content-Length", str(len(rest)))
            if fault and fault.cut_after is not None:
                rest = rest[: fault.cut_after]
            self.give(status, headers, rest if body else b"")

        def give(self, status, headers, body):
            self.send_response(status)
            self.send_header("Connection", "close")  # or the client may ask again on the connection that ends
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site = Site(f"http://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
