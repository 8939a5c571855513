"""Explanations: complete, and readable in the terminal, as a page and as JSON; and the picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cases import fingerprint, planned
from PIL import Image as Pillow

from autoseg.data.dataset import load_dataset
from autoseg.data.fingerprint import Fingerprint
from autoseg.errors import DataError
from autoseg.planner import plan_experiment
from autoseg.planner.data_facts import DataFacts
from autoseg.planner.dimension import choose_dimension
from autoseg.planner.explain.explain import WIDTH, Explanation, explain, to_json, to_markdown, to_text
from autoseg.planner.explain.picture import COLOURS, draw_plan, median_case
from autoseg.planner.explain.report import explained as explained_plan
from autoseg.planner.explain.report import explained as explained_with_trainers
from autoseg.planner.explain.report import with_explanation, write_report
from autoseg.planner.explain.value_words import value_text
from autoseg.planner.networks import Hardware
from autoseg.planner.plan import Decision, Plan
from autoseg.planner.situation import Situation
from autoseg.planner.suitability import suitable_trainers

REFERENCE = Path(__file__).parents[2] / "plans" / "reference"
LARGE = fingerprint((400, 512, 512), (1.0, 0.8, 0.8))


def explained(found: Fingerprint) -> tuple[Plan, tuple[Explanation, ...]]:
    plan = planned(found)
    data, hardware = DataFacts.of(plan, found), Hardware("cpu", 1.6e11)
    choice = choose_dimension(plan, data, hardware, 3600.0)
    trainers = suitable_trainers(Situation(data, choice, plan, hardware, 3600.0))
    return plan, explain(plan, (choice.decision, trainers.decision))


def test_every_decision_is_told_in_every_form() -> None:
    plan, explanations = explained(LARGE)
    text, page = to_text(plan, explanations), to_markdown(plan, explanations, "patch.png")
    assert max(map(len, text.splitlines())) <= WIDTH
    text = " ".join(text.split())
    document = json.loads(json.dumps(to_json(plan, explanations), allow_nan=False))
    assert len(explanations) == len(plan.decisions) + 2 == len(document["decisions"])
    for each in explanations:
        assert each.decision.rule in text
        assert each.decision.rule[1:] in page
        assert each.decision.source in text
    assert "(in doubt)" in text and "![" in page
    assert document["decisions"][0]["alternatives"][0]["costs"]["gmac_per_step"] > 0


def test_an_explanation_is_kept_in_the_plan_and_read_from_it() -> None:
    plan, hardware = planned(LARGE), Hardware("cpu", 1.6e11)
    why = explained_plan(plan, plan, LARGE, hardware, 3600.0)
    kept = Plan.from_json(json.loads(json.dumps(with_explanation(plan, why).to_json())))
    assert {"dimension", "trainers"} <= {each.name for each in kept.decisions}
    # Explained again, on other hardware and without a budget, it tells what it was made by.
    again = explained_plan(kept, plan, LARGE, Hardware("cuda", 1e13))
    assert [each.to_json() for each in again] == json.loads(json.dumps([each.to_json() for each in why]))


def test_alternatives_follow_from_the_numbers() -> None:
    _, explanations = explained(LARGE)
    by_name = {each.decision.name: each for each in explanations}
    patch = by_name["3d_fullres.patch_size"]
    assert "do not fit" in patch.alternatives[0].reason
    assert 0 < patch.costs["share_of_reference_values"] <= 1
    assert by_name["3d_lowres"].alternatives[0].value == "not planned"
    assert "nnunet" in by_name["trainers"].reasons
    assert {each.value for each in by_name["trainers"].alternatives}.isdisjoint(by_name["trainers"].reasons)


def test_a_plan_read_from_disk_explains_the_same(tmp_path: Path) -> None:
    plan, explanations = explained(LARGE)
    more = [each.decision for each in explanations[:2]]
    kept = Plan.from_json({**plan.to_json(), "autoseg": {"decisions": [d.to_json() for d in more]}})
    assert to_text(kept, explain(kept)) == to_text(kept, explain(kept, more))


def test_a_report_is_a_page_with_json_and_picture(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    name = "Dataset021_NucleiColor"
    dataset = load_dataset(shared_data(name))
    found = Fingerprint.load(REFERENCE / name / "fingerprint.json")
    plan = plan_experiment(dataset, found)
    explanations = explained_with_trainers(plan, plan, found, Hardware("cpu", 1.6e11), 600.0)
    assert [each.decision.name for each in explanations[:2]] == ["dimension", "trainers"]
    files = write_report(tmp_path / "why.md", plan, explanations, dataset, found)
    assert sorted(path.name for path in files) == ["why.json", "why.md", "why.png"]
    assert "](why.png)" in files[0].read_text()
    assert "](why.png)" not in write_report(tmp_path / "bare.md", plan, explanations)[0].read_text()


def test_unknown_decisions_and_stock_plans_are_no_obstacle() -> None:
    plan = planned(LARGE)
    (only,) = explain(
        Plan.from_json({**plan.to_json(), "autoseg": {}}), [Decision("x.odd", {"a": None}, "so", {}, "me")]
    )
    assert (only.group, only.alternatives, only.confidence) == ("x", (), "clear")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "yes"),
        (None, "open"),
        (0.123456, "0.1235"),
        (1234567, "1,234,567"),
        ([], "none"),
        ((40, 56), "40 x 56"),
        (["a", "b"], "a, b"),
        ({"a_b": 1}, "a b 1"),
    ],
)
def test_values_are_for_people(value: object, text: str) -> None:
    assert value_text(value) == text


def test_the_median_case_is_the_middle_one_in_mm() -> None:
    sizes = ((10, 10, 10), (30, 10, 10), (20, 10, 10))
    found = Fingerprint(((1.0, 1.0, 1.0), (0.1, 1.0, 1.0), (1.0, 1.0, 1.0)), sizes, {}, 1.0)
    assert median_case(found) == 0  # 1000, 300 and 2000 mm^3


@pytest.mark.parametrize("name", ["Dataset004_Hippocampus", "Dataset018_FetalHead"])
def test_the_picture_shows_patch_and_labels(
    name: str, tmp_path: Path, shared_data: Callable[[str], Path]
) -> None:
    dataset = load_dataset(shared_data(name))
    found = Fingerprint.load(REFERENCE / name / "fingerprint.json")
    plan = plan_experiment(dataset, found)
    picture = np.array(Pillow.open(draw_plan(dataset, found, plan, tmp_path / "patch.png")).convert("RGB"))
    outline = tuple(int(COLOURS[2][i : i + 2], 16) for i in (1, 3, 5))
    assert (picture == outline).all(-1).sum() > 200
    yellow = (picture[..., 0].astype(int) - picture[..., 2]) > 30
    assert yellow.sum() > 500
    assert [path.name for path in tmp_path.iterdir()] == ["patch.png"]


def test_a_median_case_without_label_is_refused(tmp_path: Path, shared_data: Callable[[str], Path]) -> None:
    import dataclasses

    dataset = load_dataset(shared_data("Dataset030_MSLesion"))
    bare = dataclasses.replace(
        dataset, cases=tuple(dataclasses.replace(case, label=None) for case in dataset.cases)
    )
    found = Fingerprint.load(REFERENCE / "Dataset030_MSLesion" / "fingerprint.json")
    with pytest.raises(DataError, match="no label file"):
        draw_plan(bare, found, planned(LARGE), tmp_path / "patch.png")
