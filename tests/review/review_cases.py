"""A small review on disk, in any format, and a server of it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from autoseg.data.dataset import load_dataset
from autoseg.review.answers import Answers
from autoseg.review.cases import Review, ReviewCase
from autoseg.review.journal import Journal
from autoseg.review.server import ReviewServer
from autoseg.review.session import Session
from autoseg.review.three_d import ThreeD

SHAPE = (6, 10, 8)  # z, y, x
# Where x, y and z of a file lead: as scanners write them, turned, and mirrored.
ORIENTATIONS = ("LPS", "RAS", "SAR", "ILP")
COUNT = 4


def label_array(shift: int = 0) -> np.ndarray:
    """Two boxes; nothing of them is symmetric."""
    array = np.zeros(SHAPE, np.uint8)
    array[1:4, 2 + shift : 6 + shift, 1:4] = 1
    array[2:5, 3 + shift : 5 + shift, 5:7] = 2
    return array


def write_volume(path: Path, array: np.ndarray, orientation: str = "LPS") -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.5, 0.75, 2.0))
    image.SetOrigin((-10.0, 20.0, 5.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.DICOMOrient(image, orientation), str(path), True)


def make_volumes(root: Path, ending: str = ".nii.gz", orientation: str = "LPS") -> Path:
    """A data set with predictions in a folder beside it."""
    for number in range(COUNT):
        name, random = f"case_{number}", np.random.default_rng(number)
        image = random.integers(-50, 200, SHAPE).astype(np.int16)
        write_volume(root / "imagesTr" / f"{name}_0000{ending}", image, orientation)
        write_volume(root / "labelsTr" / f"{name}{ending}", label_array(), orientation)
        write_volume(root.parent / "predicted" / f"{name}{ending}", label_array(number + 1), orientation)
    document = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "front": 1, "<b>back</b>": 2},
        "numTraining": COUNT,
        "file_ending": ending,
    }
    (root / "dataset.json").write_text(json.dumps(document))
    return root


def make_review(root: Path, folder: Path, kind: str = "labels") -> Review:
    dataset = load_dataset(root)
    predicted = root.parent / "predicted"
    cases = tuple(
        ReviewCase(
            case.identifier,
            case.images,
            case.label,
            path if (path := predicted / f"{case.identifier}{dataset.file_ending}").is_file() else None,
            "look" if number == 0 else "",
            ("<script>alert(1)</script>",) if number == 0 else (),
            {"Dice": f"0.{number}5"},
        )
        for number, case in enumerate(dataset.cases)
    )
    return Review(
        f"Labels of {dataset.name}",
        "labels" if kind == "labels" else "predictions",
        cases,
        dataset.labels,
        dataset.channels,
        dataset.reader,
        dataset.file_ending,
        folder,
        "By doubt.",
        dataset.dataset_json,
        dataset.root,
    )


@contextmanager
def served(review: Review, idle_s: float | None = None) -> Iterator[ReviewServer]:
    answers = Answers(Session(review, Journal(review.folder)), "Dr. Who", ThreeD(False))
    with ReviewServer(answers, 0, idle_s, lambda line: None) as server:
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            answers.finished = True
            thread.join(10)


class Client:
    """Requests with every header as a test wants it."""

    def __init__(self, server: ReviewServer) -> None:
        self.server, self.cookie = server, ""

    def enter(self) -> Client:
        answer, _ = self.ask("GET", f"/?token={self.server.access.token}")
        self.cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]
        return self

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.server_port, timeout=20)
        own = (
            {"Cookie": self.cookie, "Origin": self.server.origin}
            if method == "POST"
            else {"Cookie": self.cookie}
        )
        own |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {name: value for name, value in own.items() if value})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer, content

    def json(self, method: str, path: str, value: Any = None, **headers: str) -> tuple[int, Any]:
        body = None if value is None else json.dumps(value).encode()
        answer, content = self.ask(method, path, body, Content_Type="application/json", **headers)
        return answer.status, json.loads(content)
