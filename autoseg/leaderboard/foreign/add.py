"""Scores made elsewhere become records, whatever they come as.

| given | read as |
|---|---|
| ``.csv``, ``.tsv`` | a table of scores, long or wide: `foreign_table`, `foreign_wide` |
| ``.jsonl`` | records of another autoseg |
| ``.json`` | nnU-Net's summary.json: `foreign_summary`; or autoseg's evaluation.json |
| a folder with record.jsonl or summary.json below it | all of them |
| a folder of segmentations | predictions, evaluated here on the data set's references |

Tables carry what another program computed, under a definition of its own. Voxel counts and predictions are
scored by our formulas, so that only they can be compared with our own runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autoseg.errors import DataError, UsageError
from autoseg.evaluation.result import Evaluation
from autoseg.leaderboard.foreign.origin import Origin, RawData
from autoseg.leaderboard.foreign.summary import records_from_summary
from autoseg.leaderboard.foreign.table import records_from_csv
from autoseg.leaderboard.records.files import FILE_NAME, Record, load_records
from autoseg.leaderboard.records.scores import ScoreTable
from autoseg.system.files import read_json

__all__ = ["Addition", "RawData", "add_records", "records_from_csv", "records_from_summary"]

_SUMMARY = "summary.json"


@dataclass(frozen=True)
class Addition:
    """What to add, and under which name.

    Attributes:
        path: a file or a folder.
        trainer: its trainer's name; None: what the file or its path says.
        mapping: from values in the predictions to the labels that they stand for.
        by_voxels: whether predictions are compared whatever their headers say of place and direction.
    """

    path: Path
    trainer: str | None = None
    mapping: Mapping[int, int] = field(default_factory=dict)
    by_voxels: bool = False

    @classmethod
    def parse(cls, text: str) -> Addition:
        """``PATH`` or ``NAME=PATH``."""
        name, equals, path = text.partition("=")
        if equals and name and not Path(text).exists() and "/" not in name:
            return cls(Path(path), name)
        return cls(Path(text))


def add_records(
    addition: Addition | Path,
    datasets: Mapping[str, RawData] | None = None,
    workers: int | None = None,
) -> tuple[Record, ...]:
    """Read scores made elsewhere.

    Args:
        addition: a file or folder, with or without a name for the trainer.
        datasets: data sets at hand by name: they name labels, folds and, for predictions, references.
        workers: processes that evaluate predictions.

    Raises:
        DataError: if the file is at fault, or is nothing that is read; the message says what is.
        UsageError: if a data set or a name is needed and not given, or given and not needed.
    """
    if isinstance(addition, Path):
        addition = Addition(addition)
    path, raw = addition.path, _raw_data(addition.path, datasets or {})
    if path.is_dir():
        return _from_folder(addition, raw, workers)
    if not path.is_file():
        raise UsageError(f"There is no file or folder {path} to add. Check the path.")
    kind = path.suffix.lower()
    if kind in (".csv", ".tsv"):
        return records_from_csv(path, raw.dataset.name if raw else None, addition.trainer)
    if kind in (".jsonl", ".ndjson"):
        _refuse_name(addition)
        return load_records(path)
    if kind == ".json":
        return _from_json(addition, raw)
    raise DataError(
        f"{path} is not a file of scores. Give a table (.csv, .tsv), records (.jsonl), nnU-Net's "
        f"summary.json, or a folder of predictions."
    )


def _raw_data(path: Path, datasets: Mapping[str, RawData]) -> RawData | None:
    """The data set that the path names, or the only one; None if that is not clear."""
    named = [raw for name, raw in datasets.items() if name in path.resolve().parts]
    candidates = named or list(datasets.values())
    return candidates[0] if len(candidates) == 1 else None


def _refuse_name(addition: Addition) -> None:
    if addition.trainer is not None:
        raise UsageError(
            f"The records in {addition.path} name their trainers. Leave out {addition.trainer}= in front."
        )


def _from_json(addition: Addition, raw: RawData | None) -> tuple[Record, ...]:
    path = addition.path
    origin = Origin.of(path, addition.trainer, raw.dataset.name if raw else None)
    content = read_json(path, finite=False)
    if isinstance(content, dict) and {"format", "scores"} <= content.keys():
        evaluation = Evaluation.from_json(content)
        table = ScoreTable.from_evaluation(evaluation, raw.groups if raw else None)
        reason = f"scores read from {path.name}; how the predictions were made is not known here"
        fold = next(iter(origin.by_fold(evaluation.cases, raw)))[0]
        return (origin.record(fold, table, evaluation.settings, reason, path),)
    return records_from_summary(path, origin, raw)


def _from_folder(addition: Addition, raw: RawData | None, workers: int | None) -> tuple[Record, ...]:
    folder = addition.path
    if any(folder.rglob(FILE_NAME)):
        _refuse_name(addition)
        return load_records(folder)
    summaries = _summaries(folder)
    if summaries:
        parts = [_from_json(Addition(path, addition.trainer), raw) for path in summaries]
        return tuple(record for records in parts for record in records)
    from autoseg.leaderboard.foreign.predictions import records_from_predictions

    if raw is None:
        raise UsageError(
            f"The predictions in {folder} need a data set to be compared with. Name it: "
            f"autoseg leaderboard DATASET --add {addition.trainer or 'NAME'}={folder}"
        )
    origin = Origin.of(folder, addition.trainer, raw.dataset.name)
    return records_from_predictions(
        folder, origin, raw, workers, mapping=addition.mapping, by_voxels=addition.by_voxels
    )


def _summaries(folder: Path) -> list[Path]:
    """nnU-Net's summaries below a folder: those of the folds, or else one of all folds together."""
    found = sorted(folder.rglob(_SUMMARY))
    folds = [path for path in found if any(part.startswith("fold_") for part in path.parts)]
    return folds or found
