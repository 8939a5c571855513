"""Jobs from taking to result, with a stand-in for the model; kills in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from autoseg.errors import DataError
from autoseg.serving.drop_folder import DropFolder
from autoseg.serving.http_interface import HttpInterface
from autoseg.serving.jobs import DONE, FAILED, RUNNING
from autoseg.serving.reading import Facts
from autoseg.serving.server import RECORD, Server
from autoseg.system.files import read_json


class Copies:
    """In place of a model: writes what it reads; what begins with "bad" is refused."""

    name, hashes, facts = "copies", ("0",), Facts(".txt", ("text",), "")

    def segment(self, paths: Sequence[Path], reader: Any, work: Path, output: Path) -> Any:
        from autoseg.serving.served_model import Done

        text = paths[0].read_text()
        if text.startswith("bad"):
            raise DataError("It is bad. Make it good.")
        if text.startswith("odd"):
            raise ZeroDivisionError("nobody thought of this")
        (output / "copy.txt").write_text(text)
        return Done(("copy.txt",), {})

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name}


def a_server(folder: Path, most_waiting: int = 10) -> Server:
    drops = {"copies": DropFolder(folder / "in", ".txt", 1, settle_s=0)}
    models: Any = {"copies": Copies()}
    return Server(models, drops, folder / "out", None, most_waiting)  # type: ignore[arg-type]


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_is_bad_is_set_aside_and_the_rest_is_done(tmp_path: Path) -> None:
    server = a_server(tmp_path)
    for name, text in (("a.txt", "one"), ("b.txt", "bad"), ("c.txt", "odd"), ("d.txt", "two")):
        (tmp_path / "in" / name).write_text(text)
    server.run(once=True)
    assert files_in(tmp_path / "in") == [
        "done/a.txt",
        "done/d.txt",
        "set_aside/b.txt",
        "set_aside/b.txt.reason.txt",
        "set_aside/c.txt",
        "set_aside/c.txt.reason.txt",
    ]
    assert "ZeroDivisionError: nobody thought" in (tmp_path / "in/set_aside/c.txt.reason.txt").read_text()
    results = [name for name in files_in(tmp_path / "out") if not name.startswith(".serve")]
    assert results == ["a/copy.txt", "a/job.json", "d/copy.txt", "d/job.json"]
    assert [job.state for job in server.journal.jobs()] == [DONE, FAILED, FAILED, DONE]


def test_the_same_name_twice_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    server = a_server(tmp_path)
    for text in ("one", "two"):
        (tmp_path / "in" / "a.txt").write_text(text)
        server.run(once=True)
    found = [(tmp_path / "out" / name / "copy.txt").read_text() for name in ("a", "a_2")]
    assert found == ["one", "two"]


def test_an_input_that_cannot_be_moved_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = a_server(tmp_path)
    (tmp_path / "in" / "a.txt").write_text("one")

    def refuse(*paths: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("autoseg.serving.drop_folder.os.rename", refuse)
    server.run(once=True)
    server.run(once=True)
    assert [job.state for job in server.journal.jobs()] == [DONE]


def test_a_server_that_is_started_elsewhere_finds_its_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server = a_server(Path())
    (tmp_path / "in" / "a.txt").write_text("one")
    server._take_dropped()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    a_server(tmp_path).run(once=True)
    assert files_in(tmp_path / "in") == ["done/a.txt"]


def test_a_full_queue_leaves_files_where_they_are(tmp_path: Path) -> None:
    server = a_server(tmp_path, most_waiting=1)
    for name in "abc":
        (tmp_path / "in" / f"{name}.txt").write_text(name)
    server._take_dropped()
    assert len(server.journal.waiting()) == 1
    server.run(once=True)
    assert [job.state for job in server.journal.jobs()] == [DONE] * 3


def test_a_kill_after_the_result_does_not_make_it_twice(tmp_path: Path) -> None:
    server = a_server(tmp_path)
    (tmp_path / "in" / "a.txt").write_text("one")
    server._take_dropped()
    (job,) = server.journal.waiting()
    (tmp_path / "out" / "a").mkdir()
    record = {"job": job.identifier, "files": ["copy.txt"], "left_out": {}}
    (tmp_path / "out" / "a" / RECORD).write_text(json.dumps(record))
    server.run(once=True)
    assert files_in(tmp_path / "out" / "a") == [RECORD]
    assert files_in(tmp_path / "in") == ["done/a.txt"]


SLOW = """
import signal, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_server import Copies, a_server

class Slow(Copies):
    def segment(self, paths, reader, work, output):
        (output / "half").touch()
        Path({folder!r}, "begun").touch()
        time.sleep({seconds})
        (output / "half").unlink()
        return super().segment(paths, reader, work, output)

server = a_server(Path({folder!r}))
server.models = {{"copies": Slow()}}
signal.signal(signal.SIGTERM, lambda *_: server.stop())
server.run(once={once})
"""


def a_process(folder: Path, seconds: float, once: bool) -> subprocess.Popen[bytes]:
    tests = str(Path(__file__).parent)
    code = textwrap.dedent(SLOW).format(folder=str(folder), tests=tests, seconds=seconds, once=once)
    return subprocess.Popen([sys.executable, "-c", code])


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.02)


def test_a_job_survives_a_kill(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in "ab":
        (tmp_path / "in" / f"{name}.txt").write_text(name)
    process = a_process(tmp_path, 600, once=True)
    wait_for(tmp_path / "begun")
    process.kill()
    process.wait()
    assert not (tmp_path / "out" / "a").exists()
    assert files_in(tmp_path / "in") == ["a.txt", "b.txt"]
    states = [read_json(path)["state"] for path in sorted((tmp_path / "out/.serve/jobs").iterdir())]
    assert states[0] == RUNNING
    assert a_process(tmp_path, 0, once=True).wait() == 0
    assert files_in(tmp_path / "in") == ["done/a.txt", "done/b.txt"]
    assert [each.name for each in sorted((tmp_path / "out").iterdir())] == [".serve", "a", "b"]
    assert (tmp_path / "out" / "a" / "copy.txt").read_text() == "a"
    job = read_json(sorted((tmp_path / "out/.serve/jobs").iterdir())[0])
    assert (job["state"], job["attempts"]) == (DONE, 2)


def test_sigterm_lets_the_present_job_end_and_begins_no_other(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in "ab":
        (tmp_path / "in" / f"{name}.txt").write_text(name)
    process = a_process(tmp_path, 0.5, once=False)
    wait_for(tmp_path / "begun")
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 0
    assert files_in(tmp_path / "in") == ["b.txt", "done/a.txt"]


@contextmanager
def listening(folder: Path, largest: int = 1000, **options: int) -> Iterator[HttpInterface]:
    interface = HttpInterface(a_server(folder, **options), 0, largest)
    interface.start()
    try:
        yield interface
    finally:
        interface.end()


def ask(
    at: HttpInterface, path: str, body: bytes | None = None, method: str | None = None, **headers: str
) -> tuple[int, Any]:
    """Status, and the JSON or bytes of an answer."""
    given = {"Authorization": f"Bearer {at.token}"} | {k.replace("_", "-"): v for k, v in headers.items()}
    request = urllib.request.Request(at.url + path, data=body, headers=given, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            content = answer.read()
            is_json = answer.headers["Content-Type"] == "application/json"
            return answer.status, json.loads(content) if is_json else content
    except urllib.error.HTTPError as refused:
        return refused.code, json.loads(refused.read())


def test_a_job_by_http_from_post_to_delete(tmp_path: Path) -> None:
    with listening(tmp_path) as at:
        assert ask(at, "/")[1]["models"] == [{"name": "copies"}]
        status, job = ask(at, "/jobs?name=scan.txt", b"some text")
        assert (status, job["state"], job["name"]) == (202, "waiting", "scan")
        place = f"/jobs/{job['job']}"
        assert ask(at, f"{place}/result")[0] == 409
        at.jobs.run(once=True)
        assert ask(at, place)[1]["state"] == DONE
        assert ask(at, f"{place}/result") == (200, b"some text")
        assert ask(at, f"{place}/files/copy.txt") == (200, b"some text")
        assert ask(at, f"{place}/files/..%2f.serve%2ftoken")[0] == 404
        assert files_in(tmp_path / "out" / ".serve" / "uploads") == []
        assert ask(at, place, method="DELETE")[0] == 200
        assert not (tmp_path / "out" / "scan").exists()
        assert ask(at, place)[0] == 404


def test_a_bad_upload_says_why(tmp_path: Path) -> None:
    with listening(tmp_path) as at:
        _, job = ask(at, "/jobs", b"bad text")
        at.jobs.run(once=True)
        found = ask(at, f"/jobs/{job['job']}")[1]
        assert (found["state"], found["reason"]) == (FAILED, "It is bad. Make it good.")
        assert ask(at, f"/jobs/{job['job']}/result")[0] == 409


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "words"),
    [
        ("/jobs", None, {"Authorization": "Bearer wrong"}, 401, "token"),
        ("/jobs", None, {"Host": "evil.example"}, 403, "evil.example"),
        ("/nothing", None, {}, 404, "GET /jobs"),
        ("/jobs/00000001-00000000", None, {}, 404, "no job"),
        ("/jobs?model=other", b"x", {}, 404, "copies"),
        ("/jobs?name=..%2Fx", b"x", {}, 400, "slash"),
        ("/jobs", b"x" * 1001, {}, 413, "1000"),
        ("/jobs", b"", {}, 413, "0 bytes"),
    ],
)
def test_what_is_refused(
    path: str, body: bytes | None, headers: dict[str, str], status: int, words: str, tmp_path: Path
) -> None:
    with listening(tmp_path) as at:
        found = ask(at, path, body, **headers)
        assert found[0] == status
        assert words in found[1]["error"]
        assert at.jobs.journal.jobs() == []
        assert files_in(tmp_path / "out" / ".serve" / "uploads") == []


def test_a_full_queue_and_a_server_that_stops_take_nothing(tmp_path: Path) -> None:
    with listening(tmp_path, most_waiting=1) as at:
        assert ask(at, "/jobs", b"one")[0] == 202
        assert ask(at, "/jobs", b"two")[0] == 429
        at.jobs.stop()
        assert ask(at, "/jobs", b"three")[0] == 503


def test_the_token_is_for_its_owner_alone_and_stays(tmp_path: Path) -> None:
    with listening(tmp_path) as at:
        path, token = tmp_path / "out" / ".serve" / "token", at.token
        assert path.stat().st_mode & 0o077 == 0 or os.name != "posix"
    with listening(tmp_path) as at:
        assert at.token == token
    assert threading.active_count() < 20
