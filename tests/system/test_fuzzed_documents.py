"""Documents from outside, changed at random: each is read, or refused by an error of autoseg."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundle_files import DESCRIPTION as BARE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_documents import EXAMPLES, VALUES, changed

from autoseg.bundle.description import Description
from autoseg.data.dataset_json import labels_from_json, parse_dataset_json
from autoseg.data.fingerprint import Fingerprint
from autoseg.data.folds import folds_from_json
from autoseg.data.groups import read_groups
from autoseg.errors import AutosegError
from autoseg.leaderboard.records.files import read_records
from autoseg.planner.plan import Plan

REFERENCE = Path(__file__).parents[2] / "plans" / "reference" / "Dataset004_Hippocampus"
DATASET = {
    "channel_names": {"0": "T1", "1": "FLAIR"},
    "labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3},
    "regions_class_order": [1, 2],
    "numTraining": 3,
    "file_ending": ".nii.gz",
    "dataset": {"a": {"images": ["i/a.nii.gz", "i/b.nii.gz"], "label": "l/a.nii.gz"}},
    "codes": {"core": "SCT 10200004 Liver"},
}
SPLITS = [{"train": ["a", "b"], "val": ["c"]}, {"train": ["c"], "val": ["a", "b"]}]
SCORES = {
    "cases": ["a", "b"],
    "columns": [{"metric": "dice", "structure": "x", "definition": "dice.v1", "values": [0.5, None]}],
}
RECORD = {
    "schema": 1,
    "run_id": "nnunet/0",
    "dataset": "Dataset001_A",
    "trainer": "nnunet",
    "configuration": "2d",
    "fold": 0,
    "settings": {"tolerance_mm": 2.0, "structures": {"x": [1]}},
    "cost": {"parameters": 3, "train_s": 1.5},
    "scores": SCORES,
}
MEMBER = {
    "preprocessing": {
        "transpose": [0, 1, 2],
        "spacing": [1.0, 1.0],
        "normalization": [
            {"scheme": "ZScoreNormalization", "within_nonzero": False, "intensities": {"mean": 1.0}}
        ],
        "resampling": {"resampling_fn_seg_kwargs": {}},
    },
    "window": {"patch_size": [32, 32], "step_size": 0.5, "mirror_axes": [0]},
    "networks": ["networks/a.onnx"],
    "mean_of": "logits",
}
DESCRIPTION = BARE | {
    "members": [MEMBER | {"networks": ["networks/b.onnx"], "previous_stage": MEMBER}],
}
FINGERPRINT = {
    "spacings": [[1.0, 1.0, 1.0], [2.0, 1.0, 1.0]],
    "shapes_after_crop": [[4, 5, 6], [4, 5, 6]],
    "foreground_intensity_properties_per_channel": {"0": {"mean": 1.0, "std": 0.5}},
    "median_relative_size_after_cropping": 1.0,
    "class_sizes": {"unit": "mm^3", "structures": {"x": {"cases": 2}}, "voxels": {"a": {"1": 4}}},
    "hash": "x",
}
PLAN = json.loads((REFERENCE / "plan.json").read_text(encoding="utf-8"))


def _labels(document: Any) -> None:
    parse_dataset_json(document)
    labels_from_json(document)


def _records(document: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.jsonl"
        path.write_text(json.dumps(document) + "\n", encoding="utf-8")
        for record in read_records(path):
            record.to_json()


READERS: dict[str, tuple[Callable[[Any], object], Any]] = {
    "dataset.json": (_labels, DATASET),
    "splits_final.json": (folds_from_json, SPLITS),
    "record.jsonl": (_records, RECORD),
    "model.json": (Description.from_json, DESCRIPTION),
    "fingerprint": (Fingerprint.from_json, FINGERPRINT),
    "plans.json": (Plan.from_json, PLAN),
}


@pytest.mark.parametrize("kind", READERS)
def test_the_document_itself_is_read(kind: str) -> None:
    read, document = READERS[kind]
    read(json.loads(json.dumps(document)))


@pytest.mark.parametrize("kind", READERS)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_changed_document_is_read_or_refused_in_words(kind: str, data: st.DataObject) -> None:
    read, document = READERS[kind]
    tried = data.draw(changed(document) | VALUES)
    try:
        read(tried)
    except AutosegError as problem:
        assert str(problem).strip()


LINES = st.sampled_from(
    ["case", "group", ",", ";", "\t", "\n", "\r", '"', "a", "b", "'", "=1", "\ufeff", " ", "é"]
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(LINES | st.text(max_size=3), max_size=40).map("".join), st.booleans(), st.binary(max_size=3))
def test_any_table_of_groups_is_read_or_refused_in_words(text: str, head: bool, rest: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "groups.csv"
        path.write_bytes((("case,group\n" if head else "") + text).encode("utf-8", "surrogatepass") + rest)
        try:
            groups = read_groups(path)
        except AutosegError as problem:
            assert "groups.csv" in str(problem)
        else:
            assert all(groups) and all(groups.values())
