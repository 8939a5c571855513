"""Who may in, what is refused, and what an answer gives away."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from review_cases import Client, make_review, make_volumes, served

from autoseg.errors import UsageError
from autoseg.review.answers import Answers
from autoseg.review.journal import Journal
from autoseg.review.server import ReviewServer
from autoseg.review.session import Session
from autoseg.review.three_d import ThreeD

PAGES = ["/", "/review.js", "/page.css", "/api/review", "/api/cases/0", "/api/cases/0/image/0.nii"]


@pytest.fixture
def client(tmp_path: Path):  # type: ignore[no-untyped-def]
    review = make_review(make_volumes(tmp_path / "Dataset007_Boxes"), tmp_path / "review")
    with served(review) as server:
        yield Client(server)


@pytest.mark.parametrize("path", PAGES)
def test_without_the_cookie_nothing_is_given_away(client: Client, path: str) -> None:
    answer, content = client.ask("GET", path)
    assert answer.status == 403 and b"case_0" not in content and b"Boxes" not in content
    assert client.enter().ask("GET", path)[0].status == 200


def test_a_token_is_good_once_and_leaves_the_address(client: Client) -> None:
    token = client.server.access.token
    answer, _ = client.ask("GET", f"/?token={token}")
    assert answer.status == 303 and answer.getheader("Location") == "/"
    cookie = answer.getheader("Set-Cookie") or ""
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and token not in cookie
    assert client.ask("GET", f"/?token={token}")[0].status == 403
    assert client.ask("GET", "/?token=")[0].status == 403
    assert client.ask("GET", "/?token=%ff")[0].status == 403


def test_whoever_comes_late_is_told_where_a_new_address_is(tmp_path: Path) -> None:
    review = make_review(make_volumes(tmp_path / "Dataset007_Boxes"), tmp_path / "review")
    told: list[str] = []
    with served(review) as server:
        server.tell = told.append
        first, second = Client(server).enter(), Client(server)
        answer, content = second.ask("GET", "/?token=old")
        assert answer.status == 403 and b"terminal" in content
        assert told and server.access.token in told[0]
        assert second.enter().ask("GET", "/")[0].status == 200 == first.ask("GET", "/")[0].status


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:80", "evil.example:{port}", ""])
def test_another_host_is_refused(client: Client, host: str) -> None:
    client.enter()
    named = host.format(port=client.server.server_port)
    assert client.ask("GET", "/", Host=named or "x")[0].status == 421


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "https://127.0.0.1:{port}"])
def test_a_post_of_another_page_is_refused(client: Client, origin: str) -> None:
    client.enter()
    body = {"action": "accept", "reviewer": "x"}
    named = origin.format(port=client.server.server_port)
    status, _ = client.json("POST", "/api/cases/0/decision", body, Origin=named)
    assert status == 403 and not client.server.answers.session.journal.entries
    assert client.json("POST", "/api/cases/0/decision", body)[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/%2e%2e/review.html",
        "/page/review.js",
        "/api/cases/0/../../x",
        "/api/cases/0/original.nii",
        "/api/cases/-1",
        "/review.py",
        "/niivue.js",
    ],
)
def test_only_what_is_in_the_table_is_there(client: Client, path: str) -> None:
    assert client.enter().ask("GET", path)[0].status == 404


@pytest.mark.parametrize(
    "body",
    [
        {"action": "delete", "reviewer": "x"},
        {"action": "correct", "reviewer": "x"},
        {"action": "accept"},
        {"action": "comment", "reviewer": "x", "comment": 5},
        {"action": "comment", "reviewer": "x", "comment": "y" * 4001},
        {"action": "accept", "reviewer": "y" * 101},
        ["accept"],
    ],
)
def test_bad_decisions_are_refused_and_not_logged(client: Client, body: object) -> None:
    status, answer = client.enter().json("POST", "/api/cases/0/decision", body)
    assert status == 400 and answer["error"]
    assert not client.server.answers.session.journal.entries


def test_bodies_have_a_size_and_a_type(client: Client) -> None:
    client.enter()
    size = client.server.answers.session.size(0)
    for path, body, kind in (
        ("save", b'"x"\n' + bytes(size - 1), "application/octet-stream"),
        ("save", b'"x"\n' + bytes(size + 1), "application/octet-stream"),
        ("save", bytes(size), "application/octet-stream"),
        ("save", b'"x"\n' + bytes(size), "text/plain"),
        ("save", b'"x"\n' + b"\7" * size, "application/octet-stream"),
        ("decision", b'{"action": "accept", "reviewer": "x"}', "text/plain"),
        ("decision", b"x" * 100_000, "application/json"),
        ("decision", b"[" * 40_000, "application/json"),
    ):
        answer, content = client.ask("POST", f"/api/cases/0/{path}", body, Content_Type=kind)
        assert answer.status == 400, (path, kind, content)
    assert not client.server.answers.session.journal.entries


def test_a_body_without_a_length_is_refused(client: Client) -> None:
    client.enter()
    with socket.create_connection(("127.0.0.1", client.server.server_port), timeout=20) as line:
        head = (
            f"POST /api/cases/0/decision HTTP/1.1\r\nHost: 127.0.0.1:{client.server.server_port}\r\n"
            f"Origin: {client.server.origin}\r\nCookie: {client.cookie}\r\nContent-Type: application/json\r\n"
            f"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        )
        line.sendall(head.encode())
        assert b" 400 " in line.recv(200)


def test_every_answer_carries_the_policy(client: Client) -> None:
    for path in ("/", "/nothing", "/api/review"):
        answer, _ = client.enter().ask("GET", path)
        policy = answer.getheader("Content-Security-Policy") or ""
        assert "default-src 'none'" in policy and "script-src 'self';" in policy
        assert answer.getheader("Cache-Control") == "no-store"
        assert answer.getheader("X-Content-Type-Options") == "nosniff"


def test_it_listens_on_this_machine_alone_and_ends_when_idle(tmp_path: Path) -> None:
    review = make_review(make_volumes(tmp_path / "Dataset007_Boxes"), tmp_path / "review")
    answers = Answers(Session(review, Journal(review.folder)), "", ThreeD(False))
    with ReviewServer(answers, 0, 0.01, lambda line: None) as server:
        assert server.server_address[0] == "127.0.0.1"
        assert "nobody has used the page" in server.run()
        with pytest.raises(UsageError, match="cannot be used"):
            ReviewServer(answers, server.server_port, None, lambda line: None)


def test_the_page_can_end_it(client: Client) -> None:
    assert client.enter().json("POST", "/api/finish", {})[0] == 200
    assert client.server.answers.finished
