"""Plan for plan against the planners of the installed nnU-Net."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoseg.data.fingerprint import Fingerprint
from autoseg.planner import PRESETS, plan_experiment

SharedData = Callable[[str], Path]
Stock = Callable[..., dict[str, Any]]

REFERENCE = Path(__file__).parents[2] / "plans" / "reference"
TASKS = ("002_Heart", "003_Liver", "004_Hippocampus", "005_Prostate", "009_Spleen")

pytestmark = pytest.mark.slow

# nnU-Net's names of our options.
OPTIONS = {
    "memory_gb": "gpu_memory_target_in_gb",
    "spacing": "overwrite_target_spacing",
    "plan_name": "plans_name",
}


def assert_equal(
    stock: Stock, preset: str, document: dict[str, Any], about: dict[str, Any], **options: Any
) -> None:
    theirs = {OPTIONS[key]: value for key, value in options.items() if key in OPTIONS}
    if not options.get("transpose", True):
        theirs["suppress_transpose"] = True
    plan = plan_experiment(
        about, Fingerprint.from_json(document), preset, dataset_name="Dataset001_Test", **options
    )
    ours = json.loads(json.dumps(plan.to_json()))
    del ours["autoseg"]
    reader = plan.image_reader_writer
    assert ours == stock(PRESETS[preset].planner, document, about, reader=reader, **theirs)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("task", TASKS)
def test_published_fingerprints(task: str, preset: str, shared_data: SharedData, stock_plan: Stock) -> None:
    folder = shared_data("msd_reference") / task
    document = json.loads((folder / "dataset_fingerprint.json").read_text())
    assert_equal(stock_plan, preset, document, json.loads((folder / "dataset.json").read_text()))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", sorted(path.name for path in REFERENCE.iterdir() if path.is_dir()))
def test_real_data_sets(name: str, preset: str, shared_data: SharedData, stock_plan: Stock) -> None:
    document = json.loads((REFERENCE / name / "fingerprint.json").read_text())
    assert_equal(stock_plan, preset, document, json.loads((shared_data(name) / "dataset.json").read_text()))


SPACINGS = st.floats(0.2, 6).map(lambda n: round(n, 4))
EDGES = st.one_of(st.integers(1, 40), st.integers(40, 600), st.integers(600, 1500))


@st.composite
def grids(draw: st.DrawFn) -> tuple[list[float], list[int]]:
    """Spacing and shape of a case: any, isotropic, thick slices along any axis, or a 2D image."""
    kind = draw(st.sampled_from(["any", "isotropic", "slices", "natural", "flat"]))
    if kind in ("natural", "flat"):
        fine = [1.0, 1.0] if kind == "natural" else [draw(SPACINGS), draw(SPACINGS)]
        return [999 * max(fine), *fine], [1, draw(st.integers(3, 3000)), draw(st.integers(3, 3000))]
    if kind == "isotropic":
        return [draw(SPACINGS)] * 3, [draw(EDGES)] * 3
    spacing, shape = [draw(SPACINGS) for _ in range(3)], [draw(EDGES) for _ in range(3)]
    if kind == "slices":
        axis = draw(st.integers(0, 2))
        spacing, shape = [0.7] * 3, [draw(st.integers(100, 500))] * 3
        spacing[axis], shape[axis] = draw(st.floats(1, 10)), draw(st.integers(2, 60))
    return spacing, shape


@st.composite
def fingerprints(draw: st.DrawFn) -> dict[str, Any]:
    spacing, shape = draw(grids())
    spread = draw(st.sampled_from([0.0, 0.2]))
    spacings, shapes = [], []
    for _ in range(draw(st.integers(1, 8))):
        flat = shape[0] == 1
        factors = [1.0 if flat else 1 + spread * draw(st.floats(-1, 1)) for _ in range(3)]
        spacings.append([n * factor for n, factor in zip(spacing, factors, strict=True)])
        changes = [0 if flat and axis == 0 else draw(st.integers(-5, 5)) for axis in range(3)]
        shapes.append([max(1, n + change) for n, change in zip(shape, changes, strict=True)])
    left = draw(st.sampled_from([1.0, 0.75, 0.7499, 0.2]))
    numbers = {"mean": 1.5, "median": 1.0, "std": 0.5, "min": 0.0, "max": 3.0}
    return {
        "spacings": spacings,
        "shapes_after_crop": shapes,
        "foreground_intensity_properties_per_channel": {
            "0": numbers | {"percentile_00_5": 0.1, "percentile_99_5": 2.9}
        },
        "median_relative_size_after_cropping": left,
    }


@st.composite
def descriptions(draw: st.DrawFn) -> dict[str, Any]:
    names = ["CT", "MRI", "noNorm", "rgb_to_0_1", "rescale_to_0_1", "zscore"]
    channels = draw(st.lists(st.sampled_from(names), min_size=1, max_size=4))
    labels: dict[str, Any] = {"background": 0}
    labels |= {f"label {n}": n for n in range(1, draw(st.sampled_from([2, 3, 6, 31, 118])))}
    if draw(st.booleans()):
        labels["whole"] = [1, 2]
    if draw(st.booleans()):
        labels["ignore"] = len(labels)
    key = draw(st.sampled_from(["channel_names", "modality"]))
    return {
        key: {str(index): name for index, name in enumerate(channels)},
        "labels": labels,
        "numTraining": draw(st.sampled_from([1, 8, 30, 1000])),
        "file_ending": ".nii.gz",
    }


@st.composite
def choices(draw: st.DrawFn) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if draw(st.booleans()):
        options["memory_gb"] = draw(st.sampled_from([3, 6.5, 11, 24, 80]))
    if draw(st.integers(0, 3)) == 0:
        options["spacing"] = [draw(SPACINGS) for _ in range(3)]
    if draw(st.integers(0, 3)) == 0:
        options |= {"transpose": False, "plan_name": "OwnPlans"}
    return options


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(fingerprints(), descriptions(), st.sampled_from(sorted(PRESETS)), choices())
def test_made_up_data_sets(
    stock_plan: Stock,
    document: dict[str, Any],
    about: dict[str, Any],
    preset: str,
    options: dict[str, Any],
) -> None:
    assert_equal(stock_plan, preset, document, about, **options)
