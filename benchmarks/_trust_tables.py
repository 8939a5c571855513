"""The text of results/trust.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def text_of(found: Mapping[str, Any]) -> str:
    """Markdown with all tables."""
    lines = [
        "# Which prediction to distrust",
        "",
        "Every held-out case is judged by what the networks of its own fold say, which had not seen it.",
        "Nothing that is measured on a case has been fitted with its group. The documentation explains it",
        'on the page "Which prediction to distrust".',
    ]
    for name, each in found["sets"].items():
        lines += ["", f"## {name}", ""]
        lines.append(f"{each['cases']} cases in {each['groups']} groups, held-out Dice {each['dice']:.3f}.")
        for key, part in PARTS.items():
            lines += ["", *(part(each) if each[key] is not None else _too_few(key, each))]
    for name, why in found["left_out"].items():
        lines += ["", f"## {name}", "", why]
    return "\n".join([*lines, "", *_without_features(found["without_features"])])


def _too_few(key: str, each: Mapping[str, Any]) -> Iterator[str]:
    """What cannot be computed, in words: a number from so little would be read as one."""
    yield f"### {TITLES[key]}"
    yield ""
    yield (f"Too few: {each['cases']} cases in {each['groups']} groups. {NEEDED[key]}")


def _coverage(each: Mapping[str, Any]) -> Iterator[str]:
    yield "### Intervals at 90 %"
    yield ""
    yield "Half of the groups calibrate, the others are new; mean and SD over 100 random divisions."
    yield ""
    yield "| structure | Dice in its interval | width | size in its interval | error of expected Dice |"
    yield "|---|---|---|---|---|"
    for name, row in each["coverage"].items():
        cells = " | ".join(
            f"{row[key][0]:.3f} ± {row[key][1]:.3f}" for key in ("dice", "width", "size", "error")
        )
        yield f"| {name} | {cells} |"


def _order(each: Mapping[str, Any]) -> Iterator[str]:
    order = each["order"]
    yield "### Order of cases"
    yield ""
    yield "Area under the risk-coverage curve, less is better; AUROC for Dice below its tenth percentile."
    yield ""
    yield "| confidence | AURC | AUROC of failures |"
    yield "|---|---|---|"
    for name, value in order["aurc"].items():
        yield f"| {name} | {value:.4f} | {order['auroc_of_failures'][name]:.3f} |"
    difference, (low, high) = order["difference"], order["difference"]["interval"]
    yield ""
    yield (
        f"Expected Dice less entropy, paired, bootstrap over groups: {difference['mean']:+.4f} "
        f"({low:+.4f} to {high:+.4f}), p = {difference['p']:.4f}."
    )


def _shifts(each: Mapping[str, Any]) -> Iterator[str]:
    yield "### Shifts"
    yield ""
    yield (
        f"Made from held-out cases and never calibrated on. A failure has a mean Dice below "
        f"{each['shifts']['threshold']:.3f}, the tenth percentile of the clean cases. Flagged: `review` or "
        f"`unlike the training data`."
    )
    yield ""
    yield (
        "| shift | cases | Dice | expected | failures flagged | others flagged | unlike | "
        "90 % intervals hold | of those not flagged | intervals that fail, flagged |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for name, row in each["shifts"]["shifts"].items():
        rest = (
            "-"
            if row["coverage_unflagged"] is None
            else f"{row['coverage_unflagged']:.2f} of {row['unflagged']}"
        )
        yield (
            f"| {name} | {row['cases']} | {row['dice']:.3f} | {row['expected']:.3f} | "
            f"{row['flagged_failures']} of {row['failures']} | {row['flagged_others']} of {row['others']} | "
            f"{row['unlike']} | {row['coverage']:.2f} | {rest} | {row['missed_flagged']} of {row['missed']} |"
        )


def labels_of(each: Mapping[str, Any]) -> Iterator[str]:
    """Planted errors by kind."""
    yield "### Planted label errors"
    yield ""
    yield "In 10 % of the cases, five seeds, mean ± SD; precision among as many cases as were planted."
    yield "The networks had learnt from the unspoilt labels; the fit of expected Dice saw the spoilt ones."
    yield ""
    rivals = list(next(iter(each["labels"].values())))
    heads = [f"{rival}: {measure}" for rival in rivals for measure in ("AUROC", "precision")]
    yield f"| error | {' | '.join(heads)} |"
    yield f"|---|{'---|' * len(heads)}"
    for kind, row in each["labels"].items():
        cells = [
            f"{row[rival][measure][0]:.3f} ± {row[rival][measure][1]:.3f}"
            for rival in rivals
            for measure in ("auroc", "precision")
        ]
        yield f"| {kind} | {' | '.join(cells)} |"


def sizes_of(each: Mapping[str, Any]) -> Iterator[str]:
    """Planted errors by size."""
    yield "### From what size on they are found"
    yield ""
    yield (
        f"The outline of a held-out prediction is {each['sizes']['own']:.1f} voxels off that of its "
        f"reference (mean distance, median over cases). AUROC, five seeds, 10 % of the cases."
    )
    yield ""
    yield "| error | voxels | outline moved by | doubt | lowest Dice |"
    yield "|---|---|---|---|---|"
    for row in each["sizes"]["rows"]:
        doubt, lowest = (f"{row[key][0]:.3f} ± {row[key][1]:.3f}" for key in ("doubt", "lowest"))
        yield f"| {row['kind']} | {row['voxels']} | {row['moved']:.1f} | {doubt} | {lowest} |"


def _cost(each: Mapping[str, Any]) -> Iterator[str]:
    cost = each["cost"]
    yield "### Cost"
    yield ""
    yield (
        f"Processor time of predicting a case with one fold's network, mean of {cost['cases']} cases: "
        f"{cost['plain_s']:.3f} s, with quality {cost['assessed_s']:.3f} s: {cost['share_one_fold']:+.1%}; "
        f"of a prediction with five folds, computed from the same figures, {cost['share_five_folds']:+.1%}. "
        f"quality.json and quality.csv are in it, pictures and the files of segmentations are not."
    )


TITLES = {
    "coverage": "Intervals at 90 %",
    "order": "Order of cases",
    "shifts": "Shifts",
    "labels": "Planted label errors",
    "sizes": "From what size on they are found",
    "cost": "Cost",
}
_TENTH = "It needs a tenth percentile, and a tenth of the cases, of at least two cases: 20."
NEEDED = {
    "coverage": "Half of the groups calibrate, and 90 % intervals need 9: 18.",
    **{key: _TENTH for key in ("order", "shifts", "labels", "sizes")},
}
PARTS = {
    "coverage": _coverage,
    "order": _order,
    "shifts": _shifts,
    "labels": labels_of,
    "sizes": sizes_of,
    "cost": _cost,
}


def _without_features(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    yield "## The statistics alone"
    yield ""
    yield "Published scores of nnU-Net (`msd_reference`), no features: intervals from nothing but the Dice of"
    yield "other cases. Half of the cases calibrate, 100 random divisions."
    yield ""
    yield "| task | trainer | label | cases | Dice in its interval | width |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        mean, deviation = row["coverage"]
        yield (
            f"| {row['task']} | {row['trainer']} | {row['label']} | {row['cases']} | "
            f"{mean:.3f} ± {deviation:.3f} | {row['width']:.3f} |"
        )
