"""What the page's server answers to each address: a fixed table, and the number of a case."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from autoseg.errors import DataError
from autoseg.review.journal import LONGEST_COMMENT, LONGEST_NAME
from autoseg.review.session import LAYERS, Session
from autoseg.review.three_d import ThreeD
from autoseg.system.documents import DocumentError, parse_json

_FOLDER: Final = Path(__file__).with_name("page")
_SCRIPT, _STYLE, _HTML = (
    "text/javascript; charset=utf-8",
    "text/css; charset=utf-8",
    "text/html; charset=utf-8",
)
_SCRIPTS: Final = ("review", "drawing", "furniture", "keys", "niivue_view", "plain_view", "server", "volume")
# Of JSON; every character of a comment may be escaped.
_MOST_JSON: Final = 12 * (LONGEST_COMMENT + LONGEST_NAME) + 1000
_CASE: Final = re.compile(r"/api/cases/(\d{1,7})(?:/(.+))?")
_IMAGE: Final = re.compile(r"image/(\d{1,4})\.nii")


class NoSuchPage(Exception):
    """Nothing is at this address."""


@dataclass(frozen=True)
class Answer:
    """A status, a type and a body."""

    status: HTTPStatus
    kind: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: Any, status: HTTPStatus = HTTPStatus.OK) -> Answer:
        """A JSON document."""
        return cls(status, "application/json", json.dumps(value, allow_nan=False).encode())

    @classmethod
    def error(cls, status: HTTPStatus, text: str) -> Answer:
        """An error in words."""
        return cls.json({"error": text}, status)


class Answers:
    """Answers the requests of the page of one review.

    Args:
        session: the review.
        reviewer: the name that the page begins with.
        three_d: the viewer that is fetched.

    Attributes:
        finished: whether the page was closed by its button.
    """

    def __init__(self, session: Session, reviewer: str, three_d: ThreeD) -> None:
        self.session, self.reviewer, self.three_d = session, reviewer, three_d
        self.finished = False
        self._files: dict[str, Callable[[], Answer]] = {
            "/": lambda: _file("review.html", _HTML),
            "/page.css": self._style,
            "/niivue.js": self._niivue,
            "/api/review": self._overview,
            "/api/alive": lambda: Answer.json({}),
        }
        for name in _SCRIPTS:
            self._files[f"/{name}.js"] = lambda name=name: _file(f"{name}.js", _SCRIPT)  # type: ignore[misc]

    def get(self, path: str) -> Answer:
        """The answer to a GET.

        Raises:
            NoSuchPage: if nothing is there.
            AutosegError: if a case cannot be read.
        """
        if path in self._files:
            return self._files[path]()
        index, what = _case_of(path)
        if what == "":
            return Answer.json(self.session.details(index))
        if match := _IMAGE.fullmatch(what):
            return _nifti(self.session.image(index, int(match[1])))
        if what.removesuffix(".nii") in LAYERS:
            return _nifti(self.session.layer(index, what.removesuffix(".nii")))
        raise NoSuchPage

    def post(self, path: str, kind: str, length: int, read: Callable[[int], bytes]) -> Answer:
        """The answer to a POST.

        Args:
            path: of the address.
            kind: the body's type.
            length: of the body in bytes, -1 if it is not known.
            read: gives so many bytes of it.

        Raises:
            NoSuchPage: if nothing is there.
            DataError: if the body is not what is expected there.
        """
        if path == "/api/finish":
            _document(kind, length, read)
            self.finished = True
            return Answer.json({})
        index, what = _case_of(path)
        if what == "decision":
            return self._decision(index, _document(kind, length, read))
        if what in ("save", "draft"):
            return self._drawing(index, what, kind, length, read)
        raise NoSuchPage

    def _decision(self, index: int, document: dict[str, Any]) -> Answer:
        action, reviewer = document.get("action"), document.get("reviewer")
        comment = document.get("comment")
        if (
            not isinstance(action, str)
            or not isinstance(reviewer, str)
            or not isinstance(comment, str | None)
        ):
            raise DataError("A decision has an action, a reviewer and perhaps a comment, all of them texts.")
        return Answer.json(self.session.decide(index, action, reviewer, comment))  # type: ignore[arg-type]

    def _drawing(self, index: int, what: str, kind: str, length: int, read: Callable[[int], bytes]) -> Answer:
        """The body is a line of the reviewer's name, in JSON, and a byte for each voxel."""
        size, most = self.session.size(index), 6 * LONGEST_NAME + 3
        if kind != "application/octet-stream" or not size < length <= size + most:
            raise DataError(f"A drawing of this case has {size} bytes and a name; {length} were announced.")
        line, found, body = read(length).partition(b"\n")
        try:
            reviewer = json.loads(line)
        except ValueError:
            reviewer = None
        if not found or not isinstance(reviewer, str):
            raise DataError("A drawing begins with a line that names who drew it.")
        if what == "draft":
            return Answer.json(self.session.save_draft(index, body))
        return Answer.json(self.session.save(index, body, reviewer))

    def _overview(self) -> Answer:
        about = {"reviewer": self.reviewer, "three_d": self.three_d.state()}
        return Answer.json({**self.session.overview(), **about})

    def _niivue(self) -> Answer:
        script = self.three_d.script()
        if script is None:
            raise NoSuchPage
        return Answer(HTTPStatus.OK, _SCRIPT, script)

    @staticmethod
    def _style() -> Answer:
        from autoseg.drawing.html import stylesheet

        own = (_FOLDER / "review.css").read_text(encoding="utf-8")
        return Answer(HTTPStatus.OK, _STYLE, f"{stylesheet()}\n{own}".encode())


def _file(name: str, kind: str) -> Answer:
    return Answer(HTTPStatus.OK, kind, (_FOLDER / name).read_bytes())


def _nifti(content: bytes) -> Answer:
    return Answer(HTTPStatus.OK, "application/octet-stream", content)


def _case_of(path: str) -> tuple[int, str]:
    match = _CASE.fullmatch(path)
    if match is None:
        raise NoSuchPage
    return int(match[1]), match[2] or ""


def _document(kind: str, length: int, read: Callable[[int], bytes]) -> dict[str, Any]:
    if kind != "application/json" or not 0 <= length <= _MOST_JSON:
        raise DataError(f"A JSON document of at most {_MOST_JSON} bytes was expected.")
    try:
        document = parse_json(read(length), True)
    except DocumentError as problem:
        raise DataError(f"A JSON document was expected: {problem}.") from None
    if not isinstance(document, dict):
        raise DataError("A JSON object was expected.")
    return document
