"""What verification found, as one offline page: findings, pictures of the cases concerned, facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.data.dataset import Dataset
from autoseg.data.fingerprint import Fingerprint
from autoseg.drawing.axes import Axis, dots, ticks
from autoseg.drawing.html import stylesheet, templates
from autoseg.drawing.slices import COLOURS
from autoseg.intake.verification.findings import Finding, VerifyReport
from autoseg.intake.verification.pictures import Shot, shots_of
from autoseg.system.files import write_text

__all__ = ["render", "write_data_page"]

# Of one kind of finding; what is beyond is counted.
MOST_LISTED = 200
_FEW_CASES = 10


@dataclass(frozen=True)
class Kind:
    """All findings of one kind.

    Attributes:
        code: the finding's name for programs.
        severity: error or warning.
        findings: those that are listed.
        count: how many there are.
        remedy: what to do, where that is the same for all; else empty.
    """

    code: str
    severity: str
    findings: tuple[Finding, ...]
    count: int
    remedy: str

    @property
    def title(self) -> str:
        """The code as words."""
        words = self.code.replace("_", " ")
        return words[0].upper() + words[1:]


@dataclass(frozen=True)
class Strip:
    """The sizes of one structure in all cases, a dot each."""

    name: str
    cases: int
    path: str
    median: str
    colour: str


def write_data_page(
    path: Path, name: str, report: VerifyReport, dataset: Dataset | None, fingerprint: Fingerprint | None
) -> Path:
    """Write the page as one file that needs no network, whole or not at all.

    Args:
        path: the HTML file to write.
        name: the data set's name.
        report: what was found.
        dataset: the source of pictures and facts; None if dataset.json cannot be read.
        fingerprint: the source of more facts; None where errors forbid one.
    """
    write_text(path, render(name, report, dataset, fingerprint))
    return path


def render(name: str, report: VerifyReport, dataset: Dataset | None, fingerprint: Fingerprint | None) -> str:
    """The page's text."""
    strips, axis, unit = _strips(dataset, fingerprint)
    return (
        templates(Path(__file__).parent)
        .get_template("page.html")
        .render(
            name=name,
            css=stylesheet(),
            report=report,
            verdict=_verdict(report),
            kinds=_kinds(report.findings),
            root=str(dataset.root) + "/" if dataset else "",
            shots=_shots(dataset, report, fingerprint),
            legend=_legend(dataset),
            facts=_facts(dataset, fingerprint),
            spreads=_spreads(dataset, fingerprint),
            intensities=_intensities(dataset, fingerprint),
            strips=strips,
            axis=axis,
            unit=unit,
            fingerprint=fingerprint,
        )
    )


def _verdict(report: VerifyReport) -> str:
    errors, warnings = len(report.errors), len(report.warnings)
    words = (
        f"{_number(errors, 'error')} and {_number(warnings, 'warning')} in {_number(report.cases, 'case')}."
    )
    counted = words[0].upper() + words[1:]
    if errors:
        return f"{counted} Training is not possible, or means nothing, before the errors are corrected."
    if warnings:
        return f"{counted} Training can start; read the warnings first; they may be intended."
    return f"{counted} Nothing stands in the way of training."


def _number(count: int, word: str) -> str:
    return f"{count or 'no'} {word}{'' if count == 1 else 's'}"


def _short(value: float) -> str:
    """Four digits, without powers of ten."""
    return f"{float(f'{value:.4g}'):,.10g}"


def _kinds(findings: Iterable[Finding]) -> list[Kind]:
    """Errors first; of each severity the most frequent kind first."""
    findings = tuple(findings)
    counts = Counter((finding.severity, finding.code) for finding in findings)
    order = sorted(counts, key=lambda key: (key[0] != "error", -counts[key]))
    kinds = []
    for severity, code in order:
        own = [finding for finding in findings if (finding.severity, finding.code) == (severity, code)]
        remedies = {finding.remedy for finding in own}
        remedy = remedies.pop() if len(remedies) == 1 else ""
        kinds.append(Kind(code, severity, tuple(own[:MOST_LISTED]), len(own), remedy))
    return kinds


def _shots(dataset: Dataset | None, report: VerifyReport, fingerprint: Fingerprint | None) -> Sequence[Shot]:
    return shots_of(dataset, report, fingerprint) if dataset is not None else ()


def _legend(dataset: Dataset | None) -> list[tuple[str, str]]:
    names = dataset.labels.structures if dataset else ()
    return [(name, COLOURS[i % len(COLOURS)]) for i, name in enumerate(names)]


def _facts(dataset: Dataset | None, fingerprint: Fingerprint | None) -> list[tuple[str, str]]:
    if dataset is None:
        return []
    groups = set(dataset.groups.values())
    words = (
        f"{len(groups)}: cases of one group never stand on both sides of a fold"
        if groups
        else "none are known"
    )
    facts = [
        ("Folder", str(dataset.root)),
        ("Cases", str(len(dataset.cases))),
        ("Channels", ", ".join(dataset.channels)),
        ("Structures", ", ".join(dataset.labels.structures)),
        ("Files", f"{dataset.file_ending}, read with {dataset.reader}"),
        ("Groups", words),
    ]
    if fingerprint is not None:
        facts.append(("Kept by cropping to what is not zero", f"{fingerprint.relative_size_after_crop:.0%}"))
    return facts


def _spreads(dataset: Dataset | None, fingerprint: Fingerprint | None) -> list[tuple[str, str, str, str]]:
    """Least, median and largest of spacing and shape, each axis by itself."""
    if dataset is None or fingerprint is None:
        return []
    flat = all(shape[0] == 1 for shape in fingerprint.shapes_after_crop)
    rows = []
    for title, values in (
        ("Spacing, mm", np.array(fingerprint.spacings)),
        ("Shape after cropping, voxels", np.array(fingerprint.shapes_after_crop)),
    ):
        if flat and title.startswith("Spacing"):
            continue  # what stands for it in pictures says nothing
        for axis, letter in enumerate("zyx"):
            if not (flat and axis == 0):
                low, middle, high = np.quantile(values[:, axis], [0, 0.5, 1])
                rows.append((f"{title}, {letter}", f"{low:.4g}", f"{middle:.4g}", f"{high:.4g}"))
    return rows


def _intensities(dataset: Dataset | None, fingerprint: Fingerprint | None) -> list[tuple[str, ...]]:
    if dataset is None or fingerprint is None:
        return []
    keys = ("mean", "std", "percentile_00_5", "median", "percentile_99_5", "min", "max")
    return [
        (dataset.channels[channel], *(_short(values[key]) for key in keys))
        for channel, values in sorted(fingerprint.intensities.items())
    ]


def _strips(dataset: Dataset | None, fingerprint: Fingerprint | None) -> tuple[list[Strip], Axis | None, str]:
    """Sizes of each structure; those of cases without it are left out."""
    sizes = fingerprint.class_sizes.get("structures", {}) if fingerprint else {}
    if dataset is None or fingerprint is None or not sizes:
        return [], None, ""
    voxels = fingerprint.class_sizes["voxels"]
    strips: list[tuple[str, np.ndarray, float]] = []
    for name, labels in dataset.labels.structures.items():
        counts = [sum(by_label.get(str(label), 0) for label in labels) for by_label in voxels.values()]
        found = np.array([count for count in counts if count], float)
        # All cases of one size of voxels, or nearly: the median's is good enough for a picture.
        scale = sizes[name]["median"] / sizes[name]["median_voxels"] if sizes[name]["median_voxels"] else 1.0
        strips.append((name, found, scale))
    high = max((float(found.max()) * scale for _, found, scale in strips if len(found)), default=1.0)
    axis = Axis(0.0, high * 1.02, ticks(0.0, high, 4))
    drawn = [
        Strip(
            name,
            len(found),
            dots(found * scale, axis),
            _short(sizes[name]["median"]),
            COLOURS[i % len(COLOURS)],
        )
        for i, (name, found, scale) in enumerate(strips)
    ]
    return drawn, axis, str(fingerprint.class_sizes.get("unit", "")).replace("^3", "³").replace("^2", "²")
