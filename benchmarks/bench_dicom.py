"""DICOM both ways: series through predict to SEG, RTSTRUCT and NIfTI, read back without the product.

    python benchmarks/bench_dicom.py [CT]

The series are generated: axial, sagittal, coronal and oblique, numbered up and down, a file a slice and one
multi-frame file, pixels of 0.7 x 0.9 mm, a gap between slices where they are numbered down; and tilted ones.
A threshold stands in for the model. What is compared are places in the patient: of the voxels that a reader
takes from the result, and of those that the generator put into the series. CT is a folder with a CT series of
a scanner. rt-utils, pydicomrt and DicomRTTool are compared where they are installed. Results:
benchmarks/results/dicom.md and .json.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from _machine import HERE, machine, write_results

sys.path.insert(0, str(HERE.parent / "tests"))

from _dicom_rules import ohif_rules
from _dicom_writers import LIBRARIES, masks_of, written
from dicom_readers import complaints, dcmqi_places, near, seg_places
from dicom_series import PLANES, Series, Thresholds, write_series

from autoseg.data.dicom_objects.maker import Maker
from autoseg.data.dicom_objects.result import Form
from autoseg.inference.predict_dicom import predict_series

STRUCTURES = {"outer": 1, "inner": 2}
PACKAGES = ("pydicom", "highdicom", "scikit-image", "dcmqi", "dicom3tools", "SimpleITK")
COMPARED = ("rt-utils", "pydicomrt", "DicomRTTool")
HOWS = ("xor", "union", "rounded")


@dataclass(frozen=True)
class Row:
    """One reader of one result: voxels that differ, of how many."""

    series: str
    written: str
    reader: str
    differ: int
    of: int
    dciodvfy: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ct", type=Path, nargs="?")
    options = parser.parse_args()
    where = machine(packages=tuple(name for name in PACKAGES if _version(name)))
    where["versions"] |= {name: _version(name) or "not installed" for name in COMPARED}
    logging.disable(logging.CRITICAL)
    rows, libraries, rules = [], [], {}
    with tempfile.TemporaryDirectory() as folder:
        for series in _all_series(Path(folder)):
            found = list(_rows(series, series.folder.parent))
            rows += found
            print(series.name, {f"{row.written}, {row.reader}": row.differ for row in found}, flush=True)
            if "file a slice, up" in series.name:
                libraries += _libraries(series, series.folder.parent)
        real = _real(options.ct, Path(folder)) if options.ct else {}
        rules = _rules(Path(folder))
    results = {"rows": [asdict(row) for row in rows], "libraries": libraries, "ct": real, "ohif": rules}
    write_results("dicom", where, results, _page(rows, libraries, real, rules, where))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _all_series(folder: Path) -> Iterator[Series]:
    for plane in PLANES:
        for frames in (False, True):
            for down in (False, True):
                kind = "multi-frame" if frames else "file a slice"
                yield _named(folder, f"{plane}, {kind}, {'down, gap' if down else 'up'}", plane, frames, down)
    for plane in ("axial", "oblique"):
        for frames in (False, True):
            kind = "multi-frame" if frames else "file a slice"
            name = f"{plane}, {kind}, tilted by 2 pixels a slice"
            yield _named(folder, name, plane, frames, False, tilt=np.rad2deg(np.arctan(2 * 0.7 / 2.5)))
            yield _named(folder, f"{plane}, {kind}, tilted by 11 degrees", plane, frames, False, tilt=11)


def _named(folder: Path, name: str, plane: str, frames: bool, down: bool, **more: Any) -> Series:
    place = folder / name.replace(", ", "_").replace(" ", "-") / "in"
    made = write_series(place, plane, frames=frames, down=down, thickness=1.5 if down else 2.5, **more)
    return Series(name, made.folder, made.labels, made.positions, made.axes, made.spacing, made.uids)


def _rows(series: Series, folder: Path) -> Iterator[Row]:
    wanted = {name: near(series.places(series.labels == n)) for name, n in STRUCTURES.items()}
    total = sum(map(len, wanted.values()))

    def row(form: str, reader: str, places: dict[str, set[Any]], said: str) -> Row:
        differ = sum(len(wanted[name] ^ places.get(name, set())) for name in wanted)
        return Row(series.name, form, reader, differ, total, said)

    for kind in ("binary", "labelmap"):
        path = _predicted(series.folder, folder / kind, Form("dicom-seg", kind))
        said, form = _clean(path), f"SEG {kind.upper()}"
        yield row(form, "pydicom", {name: near(found) for name, found in seg_places(path).items()}, said)
        try:
            second = dcmqi_places(path, folder / f"{kind}_dcmqi")
        except AssertionError:  # it refuses what is no straight volume
            yield Row(series.name, form, "dcmqi", -1, total, said)
            continue
        by_name = {name: near(second.get(n, np.empty((0, 3)))) for name, n in STRUCTURES.items()}
        yield row(form, "dcmqi", by_name, said)
    path = _predicted(series.folder, folder / "rtstruct", Form("rtstruct"))
    for how in HOWS:
        masks = masks_of(path, series, how)
        differ = sum(int((masks[name] != (series.labels == n)).sum()) for name, n in STRUCTURES.items())
        yield Row(series.name, "RTSTRUCT", f"pydicom, {how}", differ, total, _clean(path))
    image = sitk.ReadImage(str(_predicted(series.folder, folder / "nifti", Form("nifti"))))
    if "tilted" not in series.name:
        yield row("NIfTI", "SimpleITK", _nifti_places(image, series), "")


def _nifti_places(image: Any, series: Series) -> dict[str, set[Any]]:
    """Each voxel's place, as that of the source's voxel that lies within 0.001 mm of it."""
    from scipy.spatial import cKDTree

    array = sitk.GetArrayFromImage(image)
    direction = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    every = series.places(np.ones(series.labels.shape, bool))
    tree = cKDTree(every)
    found = {}
    for name, n in STRUCTURES.items():
        places = image.GetOrigin() + np.argwhere(array == n)[:, ::-1] @ direction.T
        apart, index = tree.query(places)
        found[name] = near(np.where((apart < 1e-3)[:, None], every[index % len(every)], places))
    return found


def _predicted(source: Path, output: Path, form: Form) -> Path:
    algorithm = Maker.of(["threshold"], "0", ["0" * 64], {})
    (path,) = predict_series(Thresholds(), source, output, form=form, algorithm=algorithm).files
    return path


def _clean(path: Path) -> str:
    return complaints(path) or "clean"


def _libraries(series: Series, folder: Path) -> list[dict[str, Any]]:
    """What kept libraries make of the same masks."""
    masks = {name: series.labels == n for name, n in STRUCTURES.items()}
    ours = _predicted(series.folder, folder / "again", Form("rtstruct"))
    rows = []
    for number, name in enumerate(("autoseg", *LIBRARIES)):
        path = ours if name == "autoseg" else written(name, series, masks, folder / f"library{number}")
        found: dict[str, Any] = {"series": series.name.split(",")[0], "library": name}
        for how in HOWS:
            found[how] = path if isinstance(path, str) else _differ(path, series, masks, how)
        found["dciodvfy"] = "" if isinstance(path, str) else _clean(path)
        rows.append(found)
    return rows


def _differ(path: Path, series: Series, masks: dict[str, np.ndarray], how: str) -> int:
    found = masks_of(path, series, how)
    return sum(int((found.get(name, np.zeros_like(mask)) != mask).sum()) for name, mask in masks.items())


def _real(source: Path, folder: Path) -> dict[str, Any]:
    """The CT series of a scanner: dciodvfy, dcmqi against pydicom, and OHIF's rules."""
    found: dict[str, Any] = {}
    for kind in ("binary", "labelmap"):
        path = _predicted(source, folder / f"ct_{kind}", Form("dicom-seg", kind))
        own = {name: near(places) for name, places in seg_places(path).items()}
        second = dcmqi_places(path, folder / f"ct_{kind}_dcmqi")
        differ = sum(len(own[name] ^ near(second.get(n, np.empty((0, 3))))) for name, n in STRUCTURES.items())
        found[f"SEG {kind.upper()}"] = {
            "voxels": sum(map(len, own.values())),
            "pydicom and dcmqi differ": differ,
            "dciodvfy": _clean(path),
            "ohif": ohif_rules(path, source),
        }
    path = _predicted(source, folder / "ct_rt", Form("rtstruct"))
    found["RTSTRUCT"] = {"dciodvfy": _clean(path)}
    return found


def _rules(folder: Path) -> dict[str, int]:
    """How many of the generated series' BINARY objects keep each rule of OHIF."""
    counts: dict[str, int] = {"objects": 0}
    for path in sorted(folder.glob("*/binary/*.seg.dcm")):
        counts["objects"] += 1
        for rule, kept in ohif_rules(path, path.parents[1] / "in").items():
            counts[rule] = counts.get(rule, 0) + kept
    return counts


def _page(
    rows: list[Row], libraries: list[dict[str, Any]], real: dict[str, Any], rules: dict[str, int], where: Any
) -> str:
    readers = list(dict.fromkeys((row.written, row.reader) for row in rows))
    straight = [row for row in rows if "tilted" not in row.series]
    lines = [
        "# DICOM both ways",
        "",
        f"`{where['command']}`, commit {where['commit']}, {where['date']}. Voxels that differ from those in "
        f"the series, of {rows[0].of}, by place in the patient. Of {len({r.series for r in straight})} "
        f"straight series {sum(r.differ != 0 for r in straight)} of {len(straight)} readings differ. "
        f"{sum(r.dciodvfy not in ('', 'clean') for r in rows)} readings are of objects that dciodvfy "
        "complains about. Of tilted series dcmqi lays the frames straight behind each other, without a word, "
        "though each states where it lies.",
        "",
        "| series | " + " | ".join(f"{form}: {reader}" for form, reader in readers) + " |",
        "|---" * (len(readers) + 1) + "|",
    ]
    for name in dict.fromkeys(row.series for row in rows):
        by = {(row.written, row.reader): row.differ for row in rows if row.series == name}
        cells = [("refused" if by[key] < 0 else str(by[key])) if key in by else "" for key in readers]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", *_libraries_table(libraries), "", *_real_table(real), "", *_rules_table(rules)]
    return "\n".join(lines)


def _libraries_table(libraries: list[dict[str, Any]]) -> list[str]:
    lines = [
        "## Libraries that write RTSTRUCT",
        "",
        "The same masks: voxels that differ, by how a reader combines the contours of a slice (exclusive or, "
        "union, or points rounded to voxels and filled with their border). Words are errors.",
        "",
        "| series | library | xor | union | rounded | dciodvfy |",
        "|---|---|---|---|---|---|",
    ]
    for each in libraries:
        said = str(each["dciodvfy"]).splitlines() or ["nothing"]
        words = said[0] if len(said) < 2 else f"{len(said)} lines, first: {said[0]}"
        cells = (each["series"], each["library"], *(each[how] for how in HOWS), words[:90])
        lines.append("| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |")
    return lines


def _real_table(real: dict[str, Any]) -> list[str]:
    lines = ["## A CT series of a scanner", ""]
    if not real:
        return [*lines, "Not given."]
    lines += [
        "| object | voxels | pydicom and dcmqi differ | dciodvfy | OHIF's rules |",
        "|---|---|---|---|---|",
    ]
    for name, each in real.items():
        said = "; ".join(str(each["dciodvfy"]).splitlines())
        kept = each.get("ohif", {})
        broken = [rule for rule, right in kept.items() if not right]
        ohif = ("broken: " + ", ".join(broken) if broken else f"all {len(kept)} kept") if kept else ""
        differ = each.get("pydicom and dcmqi differ", "")
        lines.append(f"| {name} | {each.get('voxels', '')} | {differ} | {said} | {ohif} |")
    return lines


def _rules_table(rules: dict[str, int]) -> list[str]:
    lines = ["## OHIF's rules, BINARY objects of the generated series", "", "| rule | kept by |", "|---|---|"]
    count = rules["objects"]
    return lines + [f"| {rule} | {kept} of {count} |" for rule, kept in rules.items() if rule != "objects"]


if __name__ == "__main__":
    main()
