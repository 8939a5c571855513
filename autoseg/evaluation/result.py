"""The outcome of an evaluation: all scores, their means, and what they were computed with."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from autoseg.errors import DataError, UsageError
from autoseg.evaluation.nnunet_summary import nnunet_summary
from autoseg.metrics import ALL_STRUCTURES, COUNTS, METRICS, Score, declare
from autoseg.metrics import known as find_known
from autoseg.metrics.comparison import Counts
from autoseg.system.files import read_json, write_json, write_text

FORMAT = 1
POOLED = METRICS["pooled_dice"]


@dataclass(frozen=True)
class CaseScore(Score):
    """One metric of one structure in one case.

    Attributes:
        case: its identifier.
    """

    case: str


@dataclass(frozen=True)
class Evaluation:
    """All scores of a set of predictions.

    Attributes:
        scores: one per case, structure and metric.
        cases: all that were to be predicted.
        missing: those of them without a prediction; they have the worst scores.
        settings: what was computed and how: structures, definitions, tolerances, unit of lengths.
        files: reference and prediction, by case; None where a prediction is missing.
        unmatched: predictions that no reference belongs to.
        overlaps: of each case with a prediction, `autoseg.evaluation.exchanged.Overlap`; it is not written.
    """

    scores: tuple[CaseScore, ...]
    cases: tuple[str, ...]
    missing: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)
    unmatched: tuple[str, ...] = ()
    overlaps: tuple[Mapping[tuple[int, int], int], ...] = field(default=(), compare=False, repr=False)

    def values(self, metric: str, structure: str | None = None) -> dict[str, float]:
        """The value of each case: of one structure, or the mean over the case's structures.

        Args:
            metric: name or definition id.
            structure: its name; None for all.

        Raises:
            UsageError: if nothing has been scored under these names.
        """
        found: dict[str, list[float]] = {}
        for score in self.scores:
            if metric in (score.metric, score.definition) and structure in (None, score.structure):
                found.setdefault(score.case, []).append(score.value)
        if not found:
            raise UsageError(
                f"The evaluation has no {metric} of {structure or 'any structure'}. It has "
                f"{', '.join(dict.fromkeys(s.metric for s in self.scores))}."
            )
        return {case: _mean(values) for case, values in found.items()}

    def mean(self, metric: str, structure: str | None = None) -> float:
        """Mean over cases, then over structures if none is named.

        Raises:
            UsageError: if nothing has been scored under these names.
        """
        if structure is not None:
            return _mean(self.values(metric, structure).values())
        names = {s.structure for s in self.scores if metric in (s.metric, s.definition)}
        return _mean([self.mean(metric, name) for name in names] or self.values(metric).values())

    def summary(self) -> dict[str, Any]:
        """Means with the number of cases behind them.

        Returns:
            ``structures``: by structure and metric, the mean over cases. ``overall``: by metric, the mean of
            these means; the background is not a structure. ``case``: means of metrics of whole cases.
            ``status``: by structure, how many cases had which status. `pooled_dice` is the Dice of all
            cases' voxels together, a metric of its own that large cases dominate.
        """
        table: dict[str, dict[str, list[CaseScore]]] = {}
        for score in self.scores:
            table.setdefault(score.structure, {}).setdefault(score.metric, []).append(score)
        unit = self.settings.get("length_unit", "mm")
        means = {name: {m: _entry(scores, unit) for m, scores in row.items()} for name, row in table.items()}
        for name, row in table.items():
            means[name].update(_pooled(row))
        whole = means.pop(ALL_STRUCTURES, {})
        return {
            "n_cases": len(self.cases),
            "n_missing": len(self.missing),
            "overall": _overall(means),
            "structures": means,
            "case": whole,
            "status": {
                name: dict(Counter(s.status for s in next(iter(row.values())))) for name, row in table.items()
            },
        }

    def to_json(self) -> dict[str, Any]:
        """The evaluation as a JSON document."""
        return {
            "format": FORMAT,
            "settings": dict(self.settings),
            "cases": list(self.cases),
            "missing": list(self.missing),
            "unmatched": list(self.unmatched),
            "files": {case: list(files) for case, files in self.files.items()},
            "scores": [{"case": score.case, **asdict(score)} for score in self.scores],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Evaluation:
        """Read what `to_json` gave.

        Raises:
            DataError: if it is something else.
        """
        try:
            if document["format"] != FORMAT:
                raise DataError(f"The evaluation has the format {document['format']!r}, expected {FORMAT}.")
            return cls(
                scores=tuple(CaseScore(**score) for score in document["scores"]),
                cases=tuple(document["cases"]),
                missing=tuple(document["missing"]),
                settings=document["settings"],
                files={case: (files[0], files[1]) for case, files in document["files"].items()},
                unmatched=tuple(document["unmatched"]),
            )
        except (KeyError, TypeError, IndexError) as problem:
            raise DataError(
                f"This is not an evaluation: {problem!r}. Evaluate the predictions again."
            ) from None

    def save(self, path: Path) -> None:
        """Write the evaluation, one score a line, whole or not at all."""
        document = self.to_json()
        scores = ",\n".join(json.dumps(score, allow_nan=False) for score in document.pop("scores"))
        head = json.dumps(document, indent=2, allow_nan=False)
        write_text(path, head.removesuffix("\n}") + f',\n  "scores": [\n{scores}\n  ]\n}}\n')

    @classmethod
    def load(cls, path: Path) -> Evaluation:
        """Read an evaluation.

        Raises:
            DataError: if the file is missing or is not an evaluation.
        """
        found = cls.from_json(read_json(path))
        declare(found.settings.get("own_metrics", {}))
        return found

    def save_nnunet_summary(self, path: Path) -> None:
        """Write counts, Dice and IoU in the format of nnU-Net's summary.json.

        Raises:
            UsageError: if the evaluation has no voxel counts.
        """
        counts: dict[tuple[str, str], dict[str, int]] = {}
        for score in self.scores:
            if score.metric in COUNTS:
                counts.setdefault((score.case, score.structure), {})[score.metric] = int(score.value)
        write_json(path, nnunet_summary(self.settings["structures"], counts, self.files))


def _mean(values: Iterable[float]) -> float:
    kept = list(values)
    return sum(kept) / len(kept)


def _entry(scores: list[CaseScore], length_unit: str) -> dict[str, Any]:
    first = scores[0]
    known = find_known(first.metric)
    return {
        "definition": first.definition,
        "unit": known.unit.replace("mm", length_unit) if known else None,
        "mean": _mean(score.value for score in scores),
        "n": len(scores),
    }


def _pooled(row: Mapping[str, list[CaseScore]]) -> dict[str, dict[str, Any]]:
    if not row.keys() >= set(COUNTS):
        return {}
    sums = Counts(*(int(sum(score.value for score in row[name])) for name in COUNTS))
    value = POOLED.formula(sums)
    mean = POOLED.best if value is None else value
    return {
        POOLED.name: {"definition": POOLED.definition, "unit": POOLED.unit, "mean": mean, "n": len(row["tp"])}
    }


def _overall(means: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Mean over structures of each metric's mean, with the fewest cases behind any of them."""
    columns: dict[str, list[Mapping[str, Any]]] = {}
    for row in means.values():
        for name, entry in row.items():
            columns.setdefault(name, []).append(entry)
    return {
        name: {
            **entries[0],
            "mean": _mean(entry["mean"] for entry in entries),
            "n": min(entry["n"] for entry in entries),
            "n_structures": len(entries),
        }
        for name, entries in columns.items()
    }
