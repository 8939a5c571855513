"""A page in a browser beside `autoseg predict` and the bundle: the same labels, and what they cost.

    python benchmarks/bench_web.py --data DATA

Models are trained for a few steps on some cases of real data sets. Others are segmented with `autoseg
predict`, with the bundle in onnxruntime, and by the page that `autoseg export --to web` writes, opened from
the disk in a headless Chromium with its software renderer. All in one thread and in float32.
"""

from __future__ import annotations

import argparse
import base64
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from _machine import machine, write_results
from bench_bundle import CONFIGURATION, FETAL_HEAD, HIPPOCAMPUS, IN_FLOAT32, equal, run, some_cases

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import chromium

from autoseg.export import export_bundle, export_web
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.single_stages import train_one
from autoseg.workspace import Workspace

Row = dict[str, Any]
MODELS = ((FETAL_HEAD, "nnunet"), (HIPPOCAMPUS, "nnunet"))


def rows(data: Path, steps: int, cases: int, work: Path) -> Iterator[Row]:
    """One model after the other: trained, exported, and predicting."""
    workspace = Workspace.locate(work / "workspace")
    for name, trainer in MODELS:
        raw, images = some_cases(data / name, work)
        for image in sorted(images.iterdir())[cases:]:
            image.unlink()
        settings = Settings(
            steps=steps, small=True, device="cpu", workers=1, configuration=CONFIGURATION[name]
        )
        model = train_one(raw, trainer, 0, workspace, settings).run.model_folder
        yield {"dataset": name, "trainer": trainer, **measured(model, images, work / model.parent.name)}


def measured(model: Path, images: Path, work: Path) -> Row:
    """What a model, its bundle and its page make of some images."""
    bundle = export_bundle(model, work / "bundle")
    page = export_web(bundle, work / "page")
    ours = run([sys.executable, "-c", IN_FLOAT32, model, images, work / "ours"])
    bundled = run([sys.executable, bundle / "run.py", images, work / "bundled", "--threads", 1])
    (work / "browser").mkdir()
    ready, seconds, peak = in_browser(page, sorted(images.iterdir()), work / "browser")
    count = len(list(images.iterdir()))
    return {
        "cases": count,
        "megabytes": round(sum(p.stat().st_size for p in page.rglob("*") if p.is_file()) / 1e6, 1),
        "equal": equal(work / "ours", work / "browser")[0],
        "equal_bundle": equal(work / "bundled", work / "browser")[0],
        "foreground": equal(work / "ours", work / "browser")[1],
        "predict_cpu_s": ours.cpu_s,
        "bundle_cpu_s": bundled.cpu_s,
        "ready_s": round(ready, 1),
        "browser_s_a_case": round(seconds / count, 2),
        "heap_mb": round(peak / 1e6, 1),
    }


def in_browser(page: Path, images: Sequence[Path], output: Path) -> tuple[float, float, float]:
    """Segment images in a page; seconds until it is ready and for all, and bytes of the page's own heap."""
    flags = tuple(flag for flag in chromium.FLAGS if flag != "--disable-gpu")
    chromium.FLAGS = (*flags, "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
    program = chromium.find_chromium()
    if program is None:
        raise SystemExit("There is no Chromium. Install it, or name it in AUTOSEG_CHROMIUM.")
    seconds = 0.0
    with chromium.chromium(program) as browser:
        began = time.perf_counter()
        tab = browser.page().open(page / "index.html")
        tab.run("autosegReady.then(() => 1)")
        ready = time.perf_counter() - began
        for image in images:
            text = base64.b64encode(image.read_bytes()).decode()
            tab.run(
                f"segment([new File([Uint8Array.from(atob('{text}'), c => c.charCodeAt(0))], "
                f"'{image.name}')]).then(() => 1)"
            )
            if tab.run("document.getElementById('state').className") == "bad":
                raise SystemExit(tab.run("document.getElementById('state').textContent"))
            found = tab.run("btoa(Array.from(autosegResult.file, b => String.fromCharCode(b)).join(''))")
            seconds += float(tab.run("autosegResult.seconds"))
            stem, _, ending = image.name.partition("_0000")
            (output / f"{stem}{ending}").write_bytes(base64.b64decode(found))
        outside = [each for each in tab.requests if not each.startswith(("file:", "blob:", "data:"))]
        if outside or tab.complaints:
            raise SystemExit(f"The page asked for {outside} and complained of {tab.complaints}.")
        return ready, seconds, float(tab.run("performance.memory.usedJSHeapSize"))


def text(found: Sequence[Row], steps: int) -> str:
    """What was measured, as Markdown."""
    lines = [
        "# In a browser: the same labels",
        "",
        f"Models trained for {steps} small steps segment cases that they have not seen: with `autoseg",
        "predict`, with their bundle in onnxruntime, and in the page that `autoseg export --to web` writes,",
        "opened from the disk in a headless Chromium with WebGL2 by SwiftShader. One thread, float32,",
        "mirrored copies. CPU seconds are those of whole processes for all cases; the page says its own in",
        "wall clock.",
        "",
        "| data set | trainer | cases | equal to predict | equal to the bundle | foreground | predict, CPU s "
        "| bundle, CPU s | page, s a case | page ready, s | page's own heap, MB | folder, MB |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found:
        cells = [
            row["dataset"],
            f"`{row['trainer']}`",
            str(row["cases"]),
            f"{100 * row['equal']:.4f} %",
            f"{100 * row['equal_bundle']:.4f} %",
            f"{100 * row['foreground']:.1f} %",
            f"{row['predict_cpu_s']:.1f}",
            f"{row['bundle_cpu_s']:.1f}",
            f"{row['browser_s_a_case']:.1f}",
            f"{row['ready_s']:.1f}",
            f"{row['heap_mb']:.0f}",
            f"{row['megabytes']:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "The page asked for nothing outside its folder, and no script complained."]
    return "\n".join(lines)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--cases", type=int, default=3, help="of each data set")
    given = parser.parse_args()
    where = machine(packages=("torch", "nnunetv2", "onnx", "onnxruntime"))
    with tempfile.TemporaryDirectory() as work:
        found = []
        for row in rows(given.data, given.steps, given.cases, Path(work)):
            print(row, flush=True)
            found.append(row)
            write_results("web", where, found, text(found, given.steps))


if __name__ == "__main__":
    main()
