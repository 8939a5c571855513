"""The page of a verification: every finding with its file and remedy, pictures and facts."""

from __future__ import annotations

import html
import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import SimpleITK as sitk
from chromium import Chromium

from autoseg.data.dataset import Dataset, load_dataset
from autoseg.data.fingerprint import extract_fingerprint
from autoseg.intake.verification.dataset_check import verify
from autoseg.intake.verification.findings import VerifyReport, error
from autoseg.intake.verification.page import MOST_LISTED, render, write_data_page
from autoseg.intake.verification.pictures import shots_of

SharedData = Callable[[str], Path]


@pytest.fixture
def broken(shared_data: SharedData, tmp_path: Path) -> Dataset:
    """Eight cases: one truncated, one without a label, one with an undeclared, one with an empty one."""
    source, root = shared_data("Dataset004_Hippocampus"), tmp_path / "Dataset077_Broken"
    names = [path.name for path in sorted((source / "labelsTr").iterdir())[:8]]
    for part in ("imagesTr", "labelsTr"):
        (root / part).mkdir(parents=True)
    for name in names:
        image = name.replace(".nii", "_0000.nii")
        shutil.copyfile(source / "labelsTr" / name, root / "labelsTr" / name)
        shutil.copyfile(source / "imagesTr" / image, root / "imagesTr" / image)
    text = (source / "dataset.json").read_text()
    (root / "dataset.json").write_text(text.replace('"numTraining": 130', '"numTraining": 8'))
    (root / "labelsTr" / names[1]).unlink()
    image = root / "imagesTr" / names[0].replace(".nii", "_0000.nii")
    image.write_bytes(image.read_bytes()[:5000])
    label = sitk.Cast(sitk.ReadImage(str(root / "labelsTr" / names[2])), sitk.sitkUInt8)
    label[5, 5, 5] = 7
    sitk.WriteImage(label, str(root / "labelsTr" / names[2]))
    sitk.WriteImage(label * 0, str(root / "labelsTr" / names[3]))
    return load_dataset(root)


def test_every_finding_is_there_with_its_file_and_its_remedy(broken: Dataset) -> None:
    report = verify(broken, workers=1)
    text = html.unescape(render(broken.name, report, broken, None))
    assert {finding.severity for finding in report.findings} == {"error", "warning"}
    for finding in report.findings:
        assert finding.message in text and finding.remedy in text
        assert finding.file is not None and finding.file.removeprefix(f"{broken.root}/") in text
    assert "Training is not possible" in text
    # Errors stand before warnings.
    badges = re.findall(r'<span class="badge (bad|warn)">\w+</span> <span class="badge">', text)
    assert badges == sorted(badges)


def test_the_worst_cases_come_first_and_what_cannot_be_shown_says_so(broken: Dataset) -> None:
    report = verify(broken, workers=1)
    shots = shots_of(broken, report, None)
    severities = [shot.severity for shot in shots]
    assert severities == sorted(severities) and severities[0] == "error"
    by_title = {shot.title: shot for shot in shots}
    assert by_title["Unreadable"].picture is None
    assert by_title["Missing label"].picture is not None
    assert "No label" in by_title["Missing label"].sentence
    assert "Outlines" in by_title["Label undeclared"].sentence


def test_sound_data_show_their_extremes_and_their_facts(shared_data: SharedData) -> None:
    whole = load_dataset(shared_data("Dataset004_Hippocampus"))
    dataset = replace(whole, cases=whole.cases[:12])
    report, fingerprint = verify(dataset, workers=1), extract_fingerprint(dataset, workers=1)
    shots = shots_of(dataset, report, fingerprint)
    sizes = {
        case: sum(count for label, count in counts.items() if label != "0")
        for case, counts in fingerprint.class_sizes["voxels"].items()
    }
    order = sorted(sizes, key=lambda case: sizes[case])
    assert {shot.title: shot.case for shot in shots} == {
        "Smallest labels": order[0],
        "Typical labels": order[5],
        "Largest labels": order[-1],
    }
    text = render(dataset.name, report, dataset, fingerprint)
    for name, size in fingerprint.class_sizes["structures"].items():
        assert name in text and f"{size['median']:,.4g}" in text
    dots = re.findall(r'class="dots"[^>]* d="([^"]*)"', text)
    assert [path.count("h0") for path in dots] == [12, 12]  # a dot for each case


def test_a_data_set_that_cannot_be_read_has_a_page_too_and_names_are_inert(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    findings = (error("dataset_json", evil, "Mend it."), *[error("many", "x", "y")] * (MOST_LISTED + 5))
    path = write_data_page(tmp_path / "page.html", evil, VerifyReport(0, findings), None, None)
    text = path.read_text()
    assert evil not in text and html.escape(evil) in text
    assert f"The first {MOST_LISTED} of {MOST_LISTED + 5} findings" in text


def test_the_command_writes_the_page_beside_what_it_says(
    broken: Dataset, shared_data: SharedData, tmp_path: Path
) -> None:
    from typer.testing import CliRunner

    from autoseg.cli.app import app

    page = tmp_path / "check.html"
    options = ["--workers", "1", "--quiet", "--workspace", str(tmp_path / "w"), "--report", str(page)]
    assert CliRunner().invoke(app, ["verify", str(broken.root), *options]).exit_code == 1
    assert "Label undeclared" in page.read_text()
    done = CliRunner().invoke(app, ["verify", str(shared_data("Dataset030_MSLesion")), *options])
    assert done.exit_code == 0
    assert "Spacing, mm, z" in page.read_text()


def test_the_page_asks_for_nothing_and_fits_the_window(
    broken: Dataset, browser: Chromium, tmp_path: Path
) -> None:
    path = write_data_page(tmp_path / "page.html", broken.name, verify(broken, workers=1), broken, None)
    for width in (1280, 390):
        page = browser.page().open(path, width)
        assert [request for request in page.requests if not request.startswith(("data:", "file:"))] == []
        assert page.complaints == []
        assert page.run("document.documentElement.scrollWidth") <= width
        assert page.run("[...document.images].every((image) => image.alt && image.naturalWidth > 0)")
        before = page.run("getComputedStyle(document.body).backgroundColor")
        page.run("document.querySelector('.theme').click()")
        assert page.run("getComputedStyle(document.body).backgroundColor") != before


def axe() -> str:
    """The text of axe-core, where it is installed."""
    named = os.environ.get("AUTOSEG_AXE")
    if named is None and shutil.which("npm"):
        root = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True, check=False)
        named = f"{root.stdout.strip()}/axe-core/axe.min.js"
    if named is None or not Path(named).is_file():
        pytest.skip("axe-core is not installed (npm install -g axe-core, or AUTOSEG_AXE)")
    return Path(named).read_text(encoding="utf-8")


def test_axe_finds_nothing_serious(
    broken: Dataset, shared_data: SharedData, browser: Chromium, tmp_path: Path
) -> None:
    script = axe()
    whole = load_dataset(shared_data("Dataset004_Hippocampus"))
    sound = replace(whole, cases=whole.cases[:6])
    fingerprint = extract_fingerprint(sound, workers=1)
    pages = [
        write_data_page(tmp_path / "broken.html", "Broken", verify(broken, workers=1), broken, None),
        write_data_page(tmp_path / "sound.html", "Sound", VerifyReport(6, ()), sound, fingerprint),
    ]
    for path, scheme, width in itertools.product(pages, ("light", "dark"), (390, 1280)):
        page = browser.page()
        page.media(prefers_color_scheme=scheme)
        page.open(path, width)
        page.run("document.querySelectorAll('details').forEach(d => d.open = true)")
        page.run(script + "; 0")
        found = page.run(
            "axe.run().then(r => r.violations.map("
            "v => [v.impact, v.id, v.nodes[0].html, v.nodes[0].failureSummary]))"
        )
        assert [item for item in found if item[0] in ("serious", "critical")] == []
        assert page.run("[...document.querySelectorAll('table')].every(t => t.caption)")
