"""The quality of predictions as they are made, and the files that say it: quality.json and quality.csv."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoseg.data.image import Image
from autoseg.data.labels import Labels
from autoseg.system.files import digest, read_object, write_text
from autoseg.system.tables import table_text
from autoseg.trust.evidence import Evidence
from autoseg.trust.features import Facts
from autoseg.trust.quality_model import OK, REVIEW, UNLIKE, Quality, QualityModel
from autoseg.trust.reasons import SIZES
from autoseg.trust.shape import shapes_of, steps_of

log = logging.getLogger(__name__)

JSON_NAME, CSV_NAME, HTML_NAME = "quality.json", "quality.csv", "triage.html"
# Written after each case at first, then as every twentieth of all is new, for the files hold all cases: an
# interruption loses nothing of the first twenty, and never the quality of more cases than this.
_AT_ONCE = 25
_PART = 20
_JSON: dict[str, Any] = {"indent": 2, "allow_nan": False}
_ORDER = {UNLIKE: 0, REVIEW: 1, OK: 2}


class Assessor:
    """Says of each case that is predicted into a folder how good it will be.

    Args:
        model: fitted on the held-out cases of what predicts.
        labels: of what predicts.
        output: the folder.

    Attributes:
        found: what stands in quality.json of each case, by identifier.
        planes: pictures (`autoseg.trust.pictures.Plane`), by identifier, of cases whose files are not read
            again, such as DICOM series.
    """

    def __init__(self, model: QualityModel, labels: Labels, output: Path) -> None:
        self.model, self.labels, self.output = model, labels, output
        self._hash = digest(model.to_json())
        stored = read_object(output / JSON_NAME)
        cases = stored.get("cases") if stored.get("model") == self._hash else None
        self._earlier: dict[str, Any] = cases if isinstance(cases, dict) else {}
        self.found: dict[str, dict[str, Any]] = {}
        self.planes: dict[str, Sequence[Any]] = {}
        self._waiting, self._warned = 0, False
        self._texts: dict[str, tuple[Mapping[str, Any], str, str]] = {}

    def evidence(self) -> Evidence:
        """What the prediction of one case is to fill."""
        return Evidence.of(self.labels)

    def add(self, case: str, image: Image, segmentation: Any, evidence: Evidence) -> Quality:
        """Assess one case.

        Args:
            case: its identifier.
            image: as the model took it.
            segmentation: (z, y, x), on the same grid.
            evidence: of its prediction.
        """
        steps, _ = steps_of(image)
        shapes = shapes_of(segmentation, steps, self.labels.structures)
        known = evidence.to_json(self.labels)
        flat = image.array.shape[1] == 1
        facts = {name: Facts(known["structures"][name], shape, flat) for name, shape in shapes.items()}
        self._warn_of_copies(facts)
        quality = self.model.assess(case, image, facts, known["entropy"])
        self.found[case] = to_json(quality)
        self._waiting += 1
        if self._waiting >= min(_AT_ONCE, 1 + len(self.found) // _PART):
            self.save(whole=False)
        return quality

    def _warn_of_copies(self, facts: Mapping[str, Facts]) -> None:
        """Say once that calibration had mirrored copies and this prediction has none."""
        missing = [
            name
            for name, each in facts.items()
            if "agreement" in self.model.structures[name].names and each.evidence.get("agreement") is None
        ]
        if missing and not self._warned:
            self._warned = True
            log.warning(
                "Expected quality was fitted with mirrored copies, which these predictions have not: it is "
                "less sure than it says. Predict with mirrored copies and without --fast."
            )

    def retain(self, case: str) -> bool:
        """Take over what an earlier call found of a case whose segmentation is still fresh."""
        if case in self._earlier:
            self.found[case] = self._earlier[case]
        return case in self.found

    def save(self, whole: bool = True) -> None:
        """Write both files with all cases so far, the worst first.

        Args:
            whole: whether all cases have been; before that, what an earlier call found of others is kept.
        """
        if not self.found:
            return
        self._waiting = 0
        cases = self.found if whole else self._earlier | self.found
        ordered = worst_first(cases)
        head = json.dumps({"model": self._hash, "about": dict(self.model.about)}, **_JSON)
        head = head[: head.rindex("\n}")]
        texts = [self._text_of(case, found) for case, found in ordered]
        inner = ",\n".join(text for text, _ in texts)
        write_text(self.output / JSON_NAME, f'{head},\n  "cases": {{\n{inner}\n  }}\n}}\n')
        write_text(self.output / CSV_NAME, table_text([HEADER]) + "".join(rows for _, rows in texts))

    def _text_of(self, case: str, found: Mapping[str, Any]) -> tuple[str, str]:
        """A case as it stands in the two files, composed once: the files are written many times."""
        known = self._texts.get(case)
        if known is None or known[0] is not found:
            known = self._texts[case] = found, _json_of(case, found), table_text(_rows(case, found))
        return known[1:]


def _json_of(case: str, found: Mapping[str, Any]) -> str:
    """A case as it stands in quality.json, an entry a line: indented by `json` it takes ten times as long."""

    def lines(entries: Mapping[str, Any], indent: str) -> str:
        texts = (f"{indent}  {json.dumps(k)}: {json.dumps(v, allow_nan=False)}" for k, v in entries.items())
        return "{\n" + ",\n".join(texts) + f"\n{indent}}}"

    head = {name: value for name, value in found.items() if name != "structures"}
    structures = lines(found["structures"], "      ")
    return f'    {json.dumps(case)}: {lines(head, "    ")[:-6]},\n      "structures": {structures}\n    }}'


def to_json(quality: Quality) -> dict[str, Any]:
    """One case as it stands in quality.json; sizes are in ml, cm^2 or pixels."""
    scale, unit = SIZES[quality.unit]

    def ends(interval: tuple[float, float] | None, by: float = 1.0) -> list[float] | None:
        return None if interval is None else [round(end / by, 6) for end in interval]

    return {
        "flag": quality.flag,
        "reasons": list(quality.reasons),
        "expected_dice": round(quality.dice, 4),
        "chance_of_failure": round(quality.failure, 4),
        "entropy": quality.entropy,
        "structures": {
            name: {
                "expected_dice": round(each.dice, 4),
                "dice_interval": ends(each.dice_interval),
                "size": round(each.size / scale, 6),
                "size_interval": ends(each.size_interval, scale),
                "unit": unit,
                "chance_of_failure": round(each.failure, 4),
                **quality.facts[name].to_json(),
            }
            for name, each in quality.structures.items()
        },
        "inputs": dict(quality.inputs),
    }


def worst_first(cases: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Unlike the training data, then to be reviewed, then the rest; each by the chance of a failure."""
    return sorted(
        cases.items(),
        key=lambda item: (
            _ORDER.get(item[1]["flag"], 0),
            -item[1]["chance_of_failure"],
            item[1]["expected_dice"],
            item[0],
        ),
    )


def table(cases: Mapping[str, Mapping[str, Any]]) -> str:
    """A CSV with a row for each case and structure, the worst case first."""
    return table_text([HEADER, *(row for case, found in worst_first(cases) for row in _rows(case, found))])


def _rows(case: str, found: Mapping[str, Any]) -> list[Sequence[Any]]:
    rows: list[Sequence[Any]] = []
    for name, each in found["structures"].items():
        low, high = each["dice_interval"] or ("", "")
        least, most = each["size_interval"] or ("", "")
        known, shape = each["evidence"], each["shape"]
        rows.append(
            (
                case, name, found["flag"],
                each["expected_dice"], low, high,
                each["size"], least, most, each["unit"], each["chance_of_failure"],
                known["expected_dice"], known["uncertainty"], known["agreement"],
                shape["surface"], shape["components"], shape["border"],
                found["entropy"], "; ".join(found["reasons"]),
            )
        )  # fmt: skip
    return rows


HEADER = (
    "case", "structure", "flag", "expected_dice", "dice_low", "dice_high", "size", "size_low", "size_high",
    "unit", "chance_of_failure", "probabilities_dice", "uncertainty", "agreement", "surface", "components",
    "border", "entropy", "reasons",
)  # fmt: skip
