"""The page's server: this machine alone, one reader, and nothing that a request could name a file with.

| threat | what stands against it |
|---|---|
| another machine | the socket is bound to 127.0.0.1 |
| another user of this machine | a token of 256 bits in the address, good for one use; then a cookie |
| another page in the same browser | cookie `SameSite=Strict`; `Origin` and `Content-Type` of every POST |
| a name that is made to lead to 127.0.0.1 (DNS rebinding) | the `Host` of every request |
| scripts in names and comments | a Content-Security-Policy without inline scripts; `textContent` |
| paths | a fixed table of files; cases go by number |
| size | a body has the size that its route expects; a time limit for each connection |
"""

from __future__ import annotations

import json
import logging
import secrets
import socketserver
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from autoseg.errors import AutosegError, UsageError
from autoseg.names import whole_number
from autoseg.review.answers import Answer, Answers, NoSuchPage

log = logging.getLogger(__name__)

HOST: Final = "127.0.0.1"
_TIMEOUT_S: Final = 30
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self' data: blob:; font-src data:; worker-src blob:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_REFUSED: Final = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>Not open</title><main><h1>This address is not "
    "open</h1><p>It was used before, or is incomplete. The terminal in which the review runs shows a new "
    "one. Nothing is lost.</p></main></html>"
)


@dataclass
class Access:
    """Who may in: a token for the first request, a cookie for all others.

    Attributes:
        token: in the address; replaced as soon as it was used.
        session: the cookie's value.
    """

    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    def use(self, token: str) -> bool:
        """Whether a token is the right one; then it is good no longer."""
        if not secrets.compare_digest(token.encode(), self.token.encode()):
            return False
        self.token = secrets.token_urlsafe(32)
        return True

    def knows(self, session: str) -> bool:
        """Whether a cookie is of this session."""
        return secrets.compare_digest(session.encode(), self.session.encode())


class ReviewServer(ThreadingHTTPServer):
    """Serves one review.

    Args:
        answers: what is answered.
        port: 0 for any that is free.
        idle_s: seconds without a request after which it ends; None: never.
        tell: prints a line for the user.

    Raises:
        UsageError: if the port is taken.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(
        self, answers: Answers, port: int, idle_s: float | None, tell: Callable[[str], None]
    ) -> None:
        self.answers, self.idle_s, self.tell = answers, idle_s, tell
        self.access, self.last, self._told = Access(), time.monotonic(), 0.0
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as problem:
            raise UsageError(
                f"The port {port} cannot be used: {problem}. Give another --port, or none for any free one."
            ) from None
        # What closes a page does not end the wait for a request.
        self.timeout = 0.5

    def server_bind(self) -> None:
        # HTTPServer would look up the name of this machine, which takes long where there is no network.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    @property
    def origin(self) -> str:
        """What a browser calls it."""
        return f"http://{HOST}:{self.server_port}"

    @property
    def address(self) -> str:
        """Where the page is opened, once."""
        return f"{self.origin}/?token={self.access.token}"

    @property
    def cookie(self) -> str:
        """The cookie's name; browsers share cookies between the ports of a machine."""
        return f"autoseg_review_{self.server_port}"

    def run(self) -> str:
        """Serve until the page says that it is done, or nobody has asked for long.

        Returns:
            Why it ended, in words.
        """
        while not self.answers.finished:
            self.handle_request()
            if self.idle_s is not None and time.monotonic() - self.last > self.idle_s:
                return f"nobody has used the page for {self.idle_s / 60:g} minutes"
        return "the page was closed by its button"

    def tell_again(self) -> None:
        """Show an address anew, for somebody who came with an old one; not more than now and then."""
        if time.monotonic() - self._told > 5:
            self._told = time.monotonic()
            self.tell(f"To open the review in another browser: {self.address}")

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            log.error("%s", traceback.format_exc())


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: ReviewServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "autoseg", ""
    timeout = _TIMEOUT_S

    def do_GET(self) -> None:
        if not self._is_for_us():
            return
        url = urlsplit(self.path)
        token = parse_qs(url.query).get("token", [""])[0]
        if url.path == "/" and token and not self._has_cookie():
            self._enter(token)
        elif not self._has_cookie():
            self._refuse()
        elif token:
            self._redirect()
        else:
            self._answer(lambda: self.server.answers.get(url.path))

    def do_POST(self) -> None:
        # What is not read of a body would be taken for the next request.
        self.close_connection = True
        if not self._is_for_us():
            return
        if self.headers.get("Origin") != self.server.origin or not self._has_cookie():
            self._send(
                Answer.error(HTTPStatus.FORBIDDEN, "This request does not come from the review's page.")
            )
            return
        path, kind = urlsplit(self.path).path, self.headers.get("Content-Type", "")
        self._answer(lambda: self.server.answers.post(path, kind, self._length(), self.rfile.read))

    def _is_for_us(self) -> bool:
        # A connection that a browser has left open outlives the review, of which nothing may be stored then.
        if self.server.answers.finished:
            self.close_connection = True
            self._send(Answer.error(HTTPStatus.SERVICE_UNAVAILABLE, "The review has ended."))
            return False
        if self.headers.get_all("Host") == [self.server.origin.removeprefix("http://")]:
            return True
        self.close_connection = True
        self._send(Answer.error(HTTPStatus.MISDIRECTED_REQUEST, "This server has another name."))
        return False

    def _length(self) -> int:
        """Of the body; -1 where it is not said, or in several ways."""
        found = self.headers.get_all("Content-Length") or []
        length = whole_number(found[0]) if len(found) == 1 else None
        return -1 if length is None or "Transfer-Encoding" in self.headers else length

    def _has_cookie(self) -> bool:
        for part in "; ".join(self.headers.get_all("Cookie") or []).split(";"):
            name, _, value = part.strip().partition("=")
            if name == self.server.cookie and self.server.access.knows(value):
                return True
        return False

    def _enter(self, token: str) -> None:
        if not self.server.access.use(token):
            self._refuse()
            return
        value = f"{self.server.cookie}={self.server.access.session}; HttpOnly; SameSite=Strict; Path=/"
        self._redirect({"Set-Cookie": value})

    def _redirect(self, headers: dict[str, str] | None = None) -> None:
        """To the page's address without the token, which would stay in the browser's history."""
        self.server.last = time.monotonic()
        self._send(Answer(HTTPStatus.SEE_OTHER, "text/plain", b"", {"Location": "/", **(headers or {})}))

    def _refuse(self) -> None:
        if urlsplit(self.path).path == "/":  # before the page that says to look there
            self.server.tell_again()
        self._send(Answer(HTTPStatus.FORBIDDEN, "text/html; charset=utf-8", _REFUSED.encode()))

    def _answer(self, found: Callable[[], Answer]) -> None:
        self.server.last = time.monotonic()
        try:
            answer = found()
        except NoSuchPage:
            answer = Answer.error(HTTPStatus.NOT_FOUND, "There is no such page.")
        except AutosegError as problem:
            answer = Answer.error(HTTPStatus.BAD_REQUEST, str(problem))
        except OSError as problem:
            if isinstance(problem, (ConnectionError, TimeoutError)):
                raise
            answer = Answer.error(HTTPStatus.INTERNAL_SERVER_ERROR, f"A file cannot be used: {problem}")
        except Exception:
            log.error("%s", traceback.format_exc())
            answer = Answer.error(HTTPStatus.INTERNAL_SERVER_ERROR, "An error; the terminal shows which.")
        self.server.last = time.monotonic()
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in {**_HEADERS, **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("%s", json.dumps(format % args))
