"""The page with other data than volumes of one channel: pictures, channels, regions, an ignore label."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import imageio.v3
import numpy as np
from chromium import Chromium
from review_cases import SHAPE, label_array, make_review, make_volumes, served, write_volume
from review_page import ReviewPage

from autoseg.review.cases import Review
from autoseg.review.journal import Journal
from autoseg.review.session import Session

IGNORE = {"background": 0, "front": 1, "back": 2, "ignore": 3}
REGIONS = {"labels": {"background": 0, "whole": [1, 2], "back": 2}, "regions_class_order": [1, 2]}


def volumes(tmp_path: Path, **changes: Any) -> Review:
    root = make_volumes(tmp_path / "Dataset007_Boxes", orientation="RAS")
    document = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps(document | changes))
    return make_review(root, tmp_path / "review")


def ignoring(tmp_path: Path) -> Review:
    """Nobody has judged the greatest part of a slice."""
    review = volumes(tmp_path, labels=IGNORE)
    array = label_array()
    array[3, :, 4:] = 3
    array[3, 3:5, 5:7] = 2
    for case in review.cases:
        assert case.reference is not None
        write_volume(case.reference, array, "RAS")
    return review


def pictures(tmp_path: Path) -> Review:
    root = tmp_path / "Dataset008_Pictures"
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    label = np.zeros((9, 12), np.uint8)
    label[1:4, 2:9] = 1
    picture = np.random.default_rng(0).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    imageio.v3.imwrite(root / "imagesTr" / "a_0000.png", picture)
    imageio.v3.imwrite(root / "labelsTr" / "a.png", label)
    names = {str(index): name for index, name in enumerate("RGB")}
    about = {"channel_names": names, "labels": {"background": 0, "a": 1}, "numTraining": 1}
    (root / "dataset.json").write_text(json.dumps({**about, "file_ending": ".png"}))
    return make_review(root, tmp_path / "review")


def test_regions_say_which_label_is_of_one_of_them_alone(tmp_path: Path) -> None:
    review = volumes(tmp_path, **REGIONS)
    labels = Session(review, Journal(review.folder)).overview()["labels"]
    assert [each["name"] for each in labels] == ["background", "whole alone", "whole, back"]


def test_held_out_predictions_are_shown_as_the_model_writes_them(tmp_path: Path) -> None:
    from dataclasses import replace

    review = volumes(tmp_path)
    review = replace(review, as_written=lambda array, spacing: np.where(array == 2, 0, array))
    session = Session(review, Journal(review.folder))
    header = 352
    shown = {
        name: np.bincount(np.frombuffer(session.layer(0, name), np.uint8, offset=header), minlength=3)
        for name in ("prediction", "reference")
    }
    assert shown["prediction"][1] and not shown["prediction"][2] and shown["reference"][2]


def test_what_nobody_has_judged_is_no_difference_and_stays(browser: Chromium, tmp_path: Path) -> None:
    review = ignoring(tmp_path)
    with served(review) as server:
        page = ReviewPage(browser, server.address)
        colours = page.page.run("window.review.state.labels.map(each => each.colour)")
        assert colours[3] == "#9a9a9a" and len(set(colours)) == 4
        place = page.page.run("window.review.state.at")
        # The slice with most of what is ignored is not where the page begins.
        at = page.page.run(
            "window.review.state.drawing.values[window.review.state.drawing.index(window.review.state.at)]"
        )
        assert at != 3, place
        before = page.drawing()
        for _ in range(SHAPE[0]):
            page.key("PageDown")
        for _ in range(SHAPE[0]):
            page.key("t")
            page.key("PageUp")
        after = page.drawing()
        assert after != before and after[3] == before[3] > 0
        page.settled()
        assert page.page.complaints == []


def test_pictures_in_colour_are_counted_from_their_upper_left_corner(
    browser: Chromium, tmp_path: Path
) -> None:
    with served(pictures(tmp_path)) as server:
        page = ReviewPage(browser, server.address)
        page.key("x")
        for _ in range(2):
            page.key("ArrowLeft", "ArrowLeft", 8)
            page.key("ArrowUp", "ArrowUp", 8)
        assert page.text("#here").startswith("Cross at 1, 1 of 12 \N{MULTIPLICATION SIGN} 9;")
        assert page.page.run("['low', 'high'].every(name => document.getElementById(name).disabled)")
        assert page.text("#unit") == "pixels"
        page.key("d")
        page.key(" ", "Space")
        before = page.drawing()
        page.key("k")
        assert page.text("#saved") == "There is one channel." and page.drawing() == before
        page.settled()


def test_all_channels_are_reached_by_one_key_and_the_drawing_stays(browser: Chromium, tmp_path: Path) -> None:
    names = ("FLAIR", "T1", "T1 with contrast", "T2")
    root = make_volumes(tmp_path / "Dataset007_Boxes", orientation="RAS")
    for number in range(4):
        for channel in range(1, 4):
            image = np.full(SHAPE, 100 * channel, np.int16)
            write_volume(root / "imagesTr" / f"case_{number}_000{channel}.nii.gz", image, "RAS")
    document = json.loads((root / "dataset.json").read_text())
    document["channel_names"] = {str(index): name for index, name in enumerate(names)}
    (root / "dataset.json").write_text(json.dumps(document))
    with served(make_review(root, tmp_path / "review")) as server:
        page = ReviewPage(browser, server.address)
        assert page.page.run("document.querySelector('#channel').checkVisibility()")
        page.key("t")
        drawn = page.drawing()
        for channel in (1, 2, 3):
            page.key("k")
            page.until(f"document.querySelector('#here').textContent.includes('value {100 * channel};')")
            assert (
                page.page.run("document.querySelector('#channel').selectedOptions[0].text") == names[channel]
            )
        page.page.run("document.querySelector('#low').value = 300")
        page.key("k")
        page.until("!document.querySelector('#here').textContent.includes('value 300;')")
        assert page.page.run("document.querySelector('#channel').value") == "0"
        assert page.page.run("document.querySelector('#low').value") == "0"
        assert page.drawing() == drawn
        page.settled()
        assert page.page.complaints == []
