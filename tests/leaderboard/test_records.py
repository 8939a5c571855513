"""Records: what is written is what is read, and what cannot be read says where."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_records import experiment, record, table

from autoseg.errors import DataError
from autoseg.evaluation.result import CaseScore, Evaluation
from autoseg.leaderboard.records.files import load_records, write_record, write_records
from autoseg.leaderboard.records.scores import EMPTY, MISSING, ScoreColumn, ScoreTable


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    made = experiment({"nnunet": 0.9}, n_cases=10, missing=[("nnunet", "case_003")])[3]
    made = replace(made, options={"down_kernel": 2}, changes=("width 32 instead of 64",))
    path = tmp_path / "run" / "fold_3" / "record.jsonl"
    written = write_record(path, made)
    (found,) = load_records(tmp_path)
    assert found == made
    assert found.source == written.source == path
    assert list(path.parent.iterdir()) == [path]


def test_the_file_is_one_line_of_plain_json_with_its_quality(tmp_path: Path) -> None:
    made = record(scores=table(["a", "b"], {"organ": [0.5, 0.9]}))
    write_record(tmp_path / "record.jsonl", made)
    (line,) = (tmp_path / "record.jsonl").read_text().splitlines()
    content = json.loads(line)
    assert content["schema"] == 1
    quality = content["quality"]["dice"]
    assert quality.pop("interval") == [0.5, 0.9]
    assert quality == {"value": 0.7, "n_cases": 2, "n_missing": 0, "n_empty": 0}
    assert content["scores"]["columns"][0]["values"] == [0.5, 0.9]
    assert "source" not in content


def test_not_a_number_is_not_written(tmp_path: Path) -> None:
    broken = record(scores=table(["a"], {"organ": [0.5]}))
    column = replace(broken.scores.columns[0], values=(float("nan"),))
    with pytest.raises(ValueError, match="JSON"):
        write_record(
            tmp_path / "record.jsonl", replace(broken, scores=replace(broken.scores, columns=(column,)))
        )
    assert list(tmp_path.iterdir()) == []


def _broken(change: dict[str, Any]) -> str:
    content = record(scores=table(["a", "b"], {"organ": [0.5, 0.9]})).to_json()
    return json.dumps(content | change)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not JSON"),
        ("[1]", "one JSON object"),
        ('{"schema": 1, "run_id": NaN}', "NaN is not a number"),
        (_broken({"schema": 99}), "record schema 99, this version reads 1"),
        (_broken({"status": "fine"}), "status"),
        (_broken({"seed": "many"}), "seed"),
        (_broken({"cost": {"parameters": "a lot"}}), r"cost\.parameters"),
        (_broken({"scores": {"cases": ["a", "a"], "columns": []}}), "'a' is there twice"),
        (_broken({"scores": {"cases": ["a"], "columns": [], "groups": []}}), "0 groups for 1 cases"),
        (
            _broken(
                {
                    "scores": {
                        "cases": ["a", "b"],
                        "columns": [{"metric": "dice", "structure": "s", "definition": "d", "values": [1]}],
                    }
                }
            ),
            "1 values of dice of 's' for 2 cases",
        ),
    ],
)
def test_a_bad_line_names_file_line_and_field(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "record.jsonl"
    path.write_text(_broken({}) + "\n" + line + "\n")
    with pytest.raises(DataError, match=words) as caught:
        load_records(path)
    assert f"{path}, line 2" in str(caught.value)


def test_a_place_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file or folder"):
        load_records(tmp_path / "nowhere")


def test_records_are_found_below_folders_and_in_files(tmp_path: Path) -> None:
    made = experiment({"a": 0.9, "b": 0.8}, n_cases=10)
    for item in made[:4]:
        write_record(tmp_path / "runs" / item.trainer / f"fold_{item.fold}" / "record.jsonl", item)
    write_records(tmp_path / "elsewhere.jsonl", made[4:])
    found = load_records(tmp_path / "runs", tmp_path / "elsewhere.jsonl")
    assert sorted(item.run_id for item in found) == sorted(item.run_id for item in made)


def test_a_table_takes_over_an_evaluation() -> None:
    def score(case: str, structure: str, value: float, raw: float | None, status: Any = "ok") -> CaseScore:
        return CaseScore(structure, "dice", "dice.v1", value, raw, status, case)

    evaluation = Evaluation(
        scores=(
            score("a", "liver", 0.123456789123, 0.123456789123),
            score("a", "tumour", 1.0, None, "empty_both"),
            score("b", "liver", 0.0, None, "missing_file"),
            score("b", "tumour", 0.0, None, "missing_file"),
        ),
        cases=("a", "b"),
        missing=("b",),
    )
    found = ScoreTable.from_evaluation(evaluation, groups={"a": "one", "b": "one"})
    assert found.cases == ("a", "b") and found.groups == ("one", "one")
    assert found.missing == ("b",) and found.empty == ("a",)
    liver, tumour = found.columns
    assert liver.values == (0.123456789, 0.0) and liver.raw == {1: None} and liver.statuses == {1: MISSING}
    assert tumour.values == (1.0, 0.0) and tumour.statuses == {0: EMPTY, 1: MISSING}
    assert found.case_scores("dice").tolist() == pytest.approx([(1 + 0.123456789) / 2, 0.0])
    assert found.case_scores("dice", "tumour").tolist() == [1.0, 0.0]


def test_missing_without_a_value_counts_as_the_worst() -> None:
    column = ScoreColumn("dice", "organ", "dice.v1", (None, 0.9), {}, {0: MISSING})
    assert ScoreTable(("a", "b"), (column,)).case_scores("dice").tolist() == [0.0, 0.9]
    far = replace(column, metric="hd95")
    assert ScoreTable(("a", "b"), (far,)).case_scores("hd95").tolist() == [float("inf"), 0.9]


# Written by schema 1. It is never edited: old records must stay readable.
GOLDEN = (
    '{"schema":1,"run_id":"Dataset900_Made/nnunet__p__2d/fold_1","dataset":"Dataset900_Made","trainer":"nnunet",'
    '"configuration":"2d","fold":1,"seed":3,"status":"partial","reason":"interrupted","options":{"width":16},'
    '"plan":"p","plan_hash":"ab","fingerprint_hash":"cd","split_hash":"ef","grid":"original","selection":false,'
    '"changes":["width 16 instead of 32"],"initialisation":"imagenet","checkpoint_sha256":"12",'
    '"settings":{"tolerance_mm":{"organ":2.0},"length_unit":"mm"},"code_version":"0.1.0","code_dirty":true,'
    '"environment":{"python":"3.11"},"device":"cpu","created":"2026-01-01T00:00:00+00:00",'
    '"cost":{"parameters":7,"trainable_parameters":7,"checkpoint_mb":1.5,"flops_per_patch":10.0,'
    '"flops_per_case":null,"peak_memory_mb":20.0,"train_s":30.0,"budget_s":60.0,"inference_s_per_case":0.5,'
    '"inference_s_per_case_p95":0.6,"training_steps":100,"epochs":2},'
    '"quality":{"dice":{"value":0.45,"interval":[0.0,0.9],"n_cases":2,"n_missing":1,"n_empty":0}},'
    '"scores":{"cases":["a","b"],"columns":[{"metric":"dice","structure":"organ","definition":"dice.v1",'
    '"values":[0.9,0.0],"raw":{"1":null},"statuses":{"1":"missing_file"}}],"groups":["x","y"]}}'
)


def test_records_of_schema_one_stay_readable(tmp_path: Path) -> None:
    (tmp_path / "record.jsonl").write_text(GOLDEN + "\n")
    (found,) = load_records(tmp_path)
    assert (found.fold, found.seed, found.status, found.label) == (1, 3, "partial", "nnunet:width=16")
    assert found.changes == ("width 16 instead of 32",)
    assert found.cost.train_s == 30.0 and found.cost.flops_per_case is None
    assert found.scores.groups == ("x", "y")
    (column,) = found.scores.columns
    assert column.values == (0.9, 0.0) and column.raw == {1: None} and column.statuses == {1: MISSING}
    assert json.loads(json.dumps(found.to_json())) == json.loads(GOLDEN)
