"""A Git server over HTTP that requires a password: Git's own, behind Werkzeug's server."""

from __future__ import annotations

import os
import secrets
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler, make_server


@dataclass
class GitServer:
    """The server; every repository below ``root`` is served at its path."""

    root: Path
    user: str = "oauth2"
    token: str = field(default_factory=lambda: f"glpat-{secrets.token_urlsafe(20)}", repr=False)
    url: str = ""

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

    def respond(self, request: Request) -> Response:
        """Hand a request with the password to ``git http-backend``, which is a CGI program."""
        shown = request.authorization
        if not shown or (shown.username, shown.password) != (self.user, self.token):
            return Response("a password is required", 401, {"WWW-Authenticate": 'Basic realm="g"'})
        body = request.get_data()
        variables = {
            "PATH": os.environ["PATH"],
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROJECT_ROOT": str(self.root),
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query_string.decode(),
            "REQUEST_METHOD": request.method,
            "REMOTE_USER": self.user,
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        }
        command = ["git", "-c", "safe.directory=*", "http-backend"]
        done = subprocess.run(command, input=body, env=variables, capture_output=True, check=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        return Response(content, headers.pop("Status", "200 OK"), headers)


class _Silent(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        """Say nothing of a request."""


@pytest.fixture
def git_server(tmp_path_factory) -> Iterator[GitServer]:
    """A Git server without a repository."""
    made = GitServer(tmp_path_factory.mktemp("git"))
    application = Request.application(made.respond)
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_Silent)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
