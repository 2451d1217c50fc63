"""A Git server over HTTP that demands a password: Git's own, behind Python's."""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest


@dataclass
class GitServer:
    """The server; every repository below ``root`` is served at its path."""

    root: Path
    user: str = "oauth2"
    token: str = field(default_factory=lambda: f"glpat-{secrets.token_urlsafe(20)}", repr=False)
    url: str = ""
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    """Method, path and status of each."""

    def make(self, name: str, like: Path) -> str:
        """Serve a bare copy of a repository and return its address."""
        command = ["git", "clone", "--quiet", "--bare", "--no-local", str(like), self.root / name]
        subprocess.run(command, check=True)
        return f"{self.url}/{name}"

    def git(self, name: str, *arguments: str) -> str:
        """Run git in a repository, beside the server."""
        command = ["git", "-c", "safe.bareRepository=all", *arguments]
        done = subprocess.run(
            command, cwd=self.root / name, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def admits(self, header: str) -> bool:
        shown = base64.b64encode(f"{self.user}:{self.token}".encode()).decode()
        return secrets.compare_digest(header, f"Basic {shown}")


@pytest.fixture
def git_server(tmp_path_factory) -> Iterator[GitServer]:
    """A Git server without a repository."""
    made = GitServer(tmp_path_factory.mktemp("git"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(made))
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(served: GitServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def _serve(self) -> None:
            body = self._body()
            if served.admits(self.headers.get("Authorization", "")):
                status, headers, content = self._run(body)
            else:
                headers = [("WWW-Authenticate", 'Basic realm="git"')]
                status, content = 401, b"who are you?"
            served.requests.append((self.command, self.path, status))
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _run(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            asked = urlsplit(self.path)
            variables = {
                "PATH": os.environ["PATH"],
                "GIT_CONFIG_GLOBAL": os.devnull,
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_PROJECT_ROOT": str(served.root),
                "PATH_INFO": asked.path,
                "QUERY_STRING": asked.query,
                "REQUEST_METHOD": self.command,
                "REMOTE_USER": served.user,
                "REMOTE_ADDR": "127.0.0.1",
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            }
            done = subprocess.run(
                ["git", "-c", "safe.directory=*", "http-backend"],
                input=body,
                env=variables,
                capture_output=True,
                check=True,
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            lines = [line.split(": ", 1) for line in head.decode().splitlines()]
            headers = [(name, value) for name, value in lines]
            status = next((int(v.split()[0]) for n, v in headers if n == "Status"), 200)
            return status, [pair for pair in headers if pair[0] != "Status"], content

        def log_message(self, format, *arguments) -> None:  # noqa: A002
            """Say nothing: the requests are kept."""

    return Handler
