"""Plans from outside: what is wrong is told with its value; nothing else than PlanError comes out."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoseg.errors import PlanError
from autoseg.planner.plan import Plan

REFERENCE = Path(__file__).parents[2] / "plans" / "reference"
PLAN = json.loads((REFERENCE / "Dataset004_Hippocampus" / "plan.json").read_text(encoding="utf-8"))
NAME = "3d_fullres"


def _set(*path: str, value: Any) -> dict[str, Any]:
    plan = copy.deepcopy(PLAN)
    place = plan
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return plan


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("transpose_forward",), [0, 1, 1], "every axis once"),
        (("transpose_forward",), [3, 1, 2], "every axis once"),
        (("plans_name",), "../../x", "slash"),
        (("dataset_name",), "..", "begins with a dot"),
        (("configurations",), {}, "configurations"),
        (("configurations",), {"a/b": {}}, "slash"),
        (("configurations", NAME, "patch_size"), [40, 56], "patch of 2 axes"),
        (("configurations", NAME, "patch_size"), [40, -56, 40], "greater than or equal to 1"),
        (("configurations", NAME, "patch_size"), [40, 56, 10**12], "less than or equal"),
        (("configurations", NAME, "patch_size"), ["40", 56, 40], "patch_size.0"),
        (("configurations", NAME, "spacing"), [1.0, 0.0, 1.0], "greater than 0"),
        (("configurations", NAME, "spacing"), [1.0, float("nan"), 1.0], "spacing.1"),
        (("configurations", NAME, "batch_size"), 0, "batch_size"),
        (("configurations", NAME, "batch_size"), True, "batch_size"),
        (("configurations", NAME, "data_identifier"), "/etc", "slash"),
        (("configurations", NAME, "use_mask_for_norm"), [True, False], "1 normalization_schemes and 2"),
        (("configurations", NAME, "inherits_from"), ["x"], "no name"),
        (("configurations", NAME, "architecture"), None, "architecture"),
        (("configurations", NAME, "architecture", "arch_kwargs", "strides", 0), {}, "strides is"),
        (("configurations", NAME, "architecture", "arch_kwargs", "n_stages"), "3", "n_stages is '3'"),
        (("configurations", NAME, "architecture", "arch_kwargs", "features_per_stage", 0), 10**9, "at most"),
        (("configurations", NAME, "architecture", "_kw_requires_import"), ["nothing"], "wants 'nothing'"),
        (("configurations", NAME, "architecture", "network_class_name"), "os; rm", "network_class_name"),
        (("configurations", NAME), {"inherits_from": NAME}, "circle"),
        (("autoseg",), {"decisions": [{"nothing": 1}]}, "decisions"),
        (("autoseg",), [], "autoseg"),
    ],
)
def test_a_wrong_entry_is_named_with_its_value(path: tuple[str, ...], value: Any, words: str) -> None:
    with pytest.raises(PlanError, match=words):
        Plan.from_json(_set(*path, value=value))


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in _places(each, (*path, key)))]


PLACES = [place for place in _places(PLAN) if place]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from(
        ["", "../x", "a\0b", 10**30, -1.5, 1e308, [], {}, [[]], {"inherits_from": "2d"}, "x" * 999]
    ),
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(PLACES), VALUES)
def test_any_change_is_read_or_refused_in_words(place: tuple[Any, ...], value: Any) -> None:
    plan = copy.deepcopy(PLAN)
    target = plan
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    try:
        Plan.from_json(plan).to_json()
    except PlanError as problem:
        assert "\n" not in str(problem)


@pytest.mark.parametrize("document", [None, [], "x", 3, {}])
def test_what_is_no_plan_at_all_is_said(document: Any) -> None:
    with pytest.raises(PlanError, match="not valid"):
        Plan.from_json(document)


@pytest.mark.parametrize("path", ["os.system", "torch.hub.load", "mine.Net", "autosegnet.X"])
def test_a_network_of_another_package_is_refused_unless_it_is_trusted(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = _set("configurations", NAME, "architecture", "network_class_name", value=path)
    with pytest.raises(PlanError, match="AUTOSEG_TRUSTED_PACKAGES"):
        Plan.from_json(document)
    monkeypatch.setenv("AUTOSEG_TRUSTED_PACKAGES", f"other,{path.partition('.')[0]}")
    assert Plan.from_json(document).configuration(NAME).architecture.class_path == path


def test_parts_of_a_network_are_layers() -> None:
    place = ("configurations", NAME, "architecture", "arch_kwargs", "conv_op")
    with pytest.raises(PlanError, match="conv_op"):
        Plan.from_json(_set(*place, value="torch.hub.load"))
    assert Plan.from_json(_set(*place, value="torch.nn.Conv3d"))
