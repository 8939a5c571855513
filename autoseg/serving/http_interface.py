"""HTTP on loopback: send an image or a zip, ask what became of it, fetch the result.

Only this machine can connect, and only whoever can read the token's file has a say: other users of the
machine, and pages in its browsers, have not. A request names this machine as its host, so that a page cannot
reach it under a name of its own (DNS rebinding).
"""

from __future__ import annotations

import hmac
import json
import os
import re
import secrets
import shutil
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qs, unquote, urlsplit

from autoseg import __version__
from autoseg.errors import UsageError
from autoseg.names import name_problem, shown
from autoseg.serving.jobs import DONE, ENDED, RUNNING, Job, now
from autoseg.serving.server import Server
from autoseg.system.files import write_json

HOST = "127.0.0.1"
TOKEN = "token"
ADDRESS = "address.json"
_BLOCK = 2**20
_MOST_CONNECTIONS = 16
_IDLE_S = 60.0  # after so long without a byte a connection is closed


class Refused(Exception):
    """A request that is not carried out."""

    def __init__(self, status: HTTPStatus, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers


class HttpInterface(ThreadingHTTPServer):
    """The interface of a server, on a port of loopback.

    Args:
        server: does the jobs.
        port: 0: any that is free.
        largest: bytes that may be sent for a job.

    Raises:
        UsageError: if the port is taken.
    """

    daemon_threads = True
    allow_reuse_address = os.name == "posix"

    def __init__(self, server: Server, port: int, largest: int) -> None:
        self.jobs, self.largest = server, largest
        self.token = _token(server.home / TOKEN)
        self._free = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as problem:
            raise UsageError(
                f"The port {port} cannot be used ({problem.strerror or problem}). Give another one with "
                f"--port, or leave it out."
            ) from None
        write_json(server.home / ADDRESS, {"url": self.url, "pid": os.getpid()})

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self.server_address[1]}"

    def start(self) -> None:
        """Answer in a thread of its own."""
        threading.Thread(target=self.serve_forever, name="http", daemon=True).start()

    def end(self) -> None:
        """Answer no more."""
        self.shutdown()
        self.server_close()
        (self.jobs.home / ADDRESS).unlink(missing_ok=True)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection, or close it where there are too many."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a connection, in a thread of its own."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks off is the sender's affair."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S
    server: HttpInterface
    server_version, sys_version = f"autoseg/{__version__}", ""

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: names of files may be names of patients."""

    def do_GET(self) -> None:
        """State and results."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """A new job."""
        self._answer(self._post)

    def do_DELETE(self) -> None:
        """Remove an ended job with its result, or one that waits."""
        self._answer(self._delete)

    def _answer(self, act: Callable[[], None]) -> None:
        self.close_connection = True  # whatever of a body has not been read is no next request
        try:
            self._check()
            act()
        except Refused as refused:
            self._send_json(refused.status, {"error": str(refused)}, refused.headers)
        except OSError as problem:
            if problem.errno is None or isinstance(problem, (ConnectionError, TimeoutError)):
                return
            words = f"{problem.strerror or problem}. Is the disk full?"
            self._send_json(HTTPStatus.INSUFFICIENT_STORAGE, {"error": words})

    def _check(self) -> None:
        host = (self.headers.get("Host") or "").rpartition(":")[0] or self.headers.get("Host")
        if host not in (HOST, "localhost"):
            raise Refused(HTTPStatus.FORBIDDEN, f"The host is {HOST} or localhost, not {shown(str(host))}.")
        scheme, _, given = (self.headers.get("Authorization") or "").partition(" ")
        right = hmac.compare_digest(given.strip().encode(), self.server.token.encode())
        if scheme.lower() != "bearer" or not right:
            raise Refused(
                HTTPStatus.UNAUTHORIZED,
                f"Send the header 'Authorization: Bearer TOKEN'. The token is in the file {TOKEN!r} of the "
                f"folder that the server named at its start.",
                **{"WWW-Authenticate": "Bearer"},
            )

    def _get(self) -> None:
        parts = self._parts()
        jobs = self.server.jobs
        if not parts:
            models = [model.to_json() for model in jobs.models.values()]
            states = [job.state for job in jobs.journal.jobs()]
            queue = {state: states.count(state) for state in sorted(set(states))}
            self._send_json(HTTPStatus.OK, {"autoseg": __version__, "models": models, "jobs": queue})
        elif parts == ["jobs"]:
            self._send_json(HTTPStatus.OK, {"jobs": [job.shown() for job in jobs.journal.jobs()]})
        elif parts[0] == "jobs" and len(parts) == 2:
            self._send_json(HTTPStatus.OK, self._job(parts[1]).shown())
        elif parts[0] == "jobs" and parts[2:] == ["result"]:
            job = self._done(parts[1])
            results = [name for name in job.files if not name.startswith("quality.")]
            if len(results) != 1:
                raise Refused(
                    HTTPStatus.CONFLICT,
                    f"The job has {len(results)} results. Get each from /jobs/{job.identifier}/files/NAME: "
                    f"{', '.join(results)}.",
                )
            self._send_file(job, results[0])
        elif parts[0] == "jobs" and parts[2:3] == ["files"] and len(parts) == 4:
            self._send_file(self._done(parts[1]), parts[3])
        else:
            self._unknown()

    def _post(self) -> None:
        if self._parts() != ["jobs"]:
            self._unknown()
        server, query = self.server.jobs, parse_qs(urlsplit(self.path).query)
        model = query.get("model", [next(iter(server.models)) if len(server.models) == 1 else ""])[0]
        if model not in server.models:
            names = ", ".join(server.models)
            raise Refused(HTTPStatus.NOT_FOUND, f"There is no model {shown(model)}. Say model=NAME: {names}.")
        name = query.get("name", [f"image{server.models[model].facts.ending}"])[0]
        if problem := name_problem(name):
            raise Refused(HTTPStatus.BAD_REQUEST, f"The name {shown(name)} {problem}. Send another name.")
        size = self._size()
        if server.stopping.is_set():
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "The server is stopping. Send it to the next one.")
        if server.full():
            raise self._busy()
        identifier = server.journal.new_identifier()
        job = Job(identifier, model, identifier, (), uploaded=True, taken=now())
        folder = server.upload_of(job)
        try:
            path = self._receive(folder, name, size)
            with server.taking:
                if server.full():
                    raise self._busy()
                stem = name.removesuffix(server.models[model].facts.ending).removesuffix(".zip")
                job = Job(**{**job.to_json(), "name": server.result_name(stem), "sources": (str(path),)})
                server.add(job)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        location = f"/jobs/{identifier}"
        self._send_json(HTTPStatus.ACCEPTED, job.shown(), {"Location": location})

    def _delete(self) -> None:
        parts = self._parts()
        if len(parts) != 2 or parts[0] != "jobs":
            self._unknown()
        server, job = self.server.jobs, self._job(parts[1])
        if job.state == RUNNING or (job.state in ENDED and not job.settled):
            raise Refused(HTTPStatus.CONFLICT, "The job is being done. Wait for its end.")
        if not job.uploaded:
            raise Refused(HTTPStatus.CONFLICT, "The job came from the drop folder. Remove its files there.")
        if job.state == DONE:
            shutil.rmtree(server.output / job.name, ignore_errors=True)
        shutil.rmtree(server.upload_of(job), ignore_errors=True)
        server.journal.remove(job)
        self._send_json(HTTPStatus.OK, {"removed": job.identifier})

    def _parts(self) -> list[str]:
        return [unquote(part) for part in urlsplit(self.path).path.split("/") if part]

    def _job(self, identifier: str) -> Job:
        job = self.server.jobs.journal.get(identifier)
        if job is None:
            raise Refused(HTTPStatus.NOT_FOUND, f"There is no job {shown(identifier)}. GET /jobs lists them.")
        return job

    def _done(self, identifier: str) -> Job:
        job = self._job(identifier)
        if job.state != DONE:
            why = f": {job.reason}" if job.reason else ""
            raise Refused(HTTPStatus.CONFLICT, f"The job has no result, it is {job.state}{why}")
        return job

    def _size(self) -> int:
        length = self.headers.get("Content-Length") or ""
        if not re.fullmatch(r"[0-9]{1,15}", length):
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "Send the file as the body, with Content-Length.")
        size = int(length)
        if not 0 < size <= self.server.largest:
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The file has {size} bytes; from 1 to {self.server.largest} are taken (--largest).",
            )
        if size > shutil.disk_usage(self.server.jobs.home).free:
            raise Refused(HTTPStatus.INSUFFICIENT_STORAGE, "The server's disk has no room for this file.")
        return size

    def _receive(self, folder: Path, name: str, size: int) -> Path:
        """Store the body below a folder of the job's own."""
        if (self.headers.get("Expect") or "").lower() == "100-continue":
            self.send_response_only(HTTPStatus.CONTINUE)
            self.end_headers()
        folder.mkdir(parents=True)
        path, left = folder / name, size
        with path.open("wb") as file:
            while left and (block := self.rfile.read(min(_BLOCK, left))):
                file.write(block)
                left -= len(block)
        if left:
            raise Refused(
                HTTPStatus.BAD_REQUEST, f"The file ended {left} bytes before its length. Send it again."
            )
        return path

    def handle_expect_100(self) -> bool:
        """Nothing is promised before the request has been looked at; see `_receive`."""
        return True

    def _send_file(self, job: Job, name: str) -> None:
        path = self.server.jobs.output / job.name / name
        if name not in job.files:
            raise Refused(HTTPStatus.NOT_FOUND, f"The job has no file {shown(name)}: {', '.join(job.files)}.")
        if not path.is_file():
            raise Refused(HTTPStatus.GONE, f"The file {name} has been taken away from the results.")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            kind = "application/json" if name.endswith(".json") else "application/octet-stream"
            self._head(HTTPStatus.OK, kind, size, {"Content-Disposition": "attachment"})
            shutil.copyfileobj(file, self.wfile)

    def _send_json(self, status: HTTPStatus, content: Any, headers: dict[str, str] | None = None) -> None:
        body = (json.dumps(content) + "\n").encode()
        self._head(status, "application/json", len(body), headers or {})
        self.wfile.write(body)

    def _head(self, status: HTTPStatus, kind: str, size: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        known = {"Content-Type": kind, "Content-Length": str(size), "Cache-Control": "no-store"}
        for name, value in (known | {"X-Content-Type-Options": "nosniff", "Connection": "close"}).items():
            self.send_header(name, value)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _busy(self) -> Refused:
        most = self.server.jobs.most_waiting
        return Refused(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"{most} jobs wait already. Send it again later.",
            **{"Retry-After": "30"},
        )

    def _unknown(self) -> NoReturn:
        raise Refused(
            HTTPStatus.NOT_FOUND,
            "There is GET /, GET /jobs, POST /jobs?model=NAME&name=FILE, GET or DELETE /jobs/JOB, "
            "GET /jobs/JOB/result and GET /jobs/JOB/files/NAME.",
        )


def _token(path: Path) -> str:
    """The token of this folder, made once; only its owner can read the file."""
    try:
        found = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        found = ""
    if len(found) >= 32:
        return found
    token = secrets.token_urlsafe(32)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{token}\n")
    return token
