"""Commands that are killed (SIGKILL) at seeded moments and run again: nothing is lost, torn, or different.

    python benchmarks/bench_kills.py [--kills 10] [--seed 0] [--only import,preprocess]
    python benchmarks/bench_kills.py --kills 2 --only dicom-seg,validate,review,fix,quality,untrusted

With --only, the rows of the other commands stay as they were; every row states its commit.

Each command runs once to its end; then it is killed at a random share of the processor time that it took,
begun again, killed again, five times in a row, and run to its end. After every kill all files that anybody
can see are read, and what was there before the command has to be unchanged. In the end the files have to be
those of the run that nobody killed. Of a training only the files are looked at, not the weights.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import _edge_bases as bases
import SimpleITK as sitk
from _machine import HERE, RESULTS, machine, write_results
from PIL import Image

sys.path.insert(0, str(HERE.parent / "tests"))
from dicom_series import write_series

IN_A_ROW = 5
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Outcome:
    """What the kills of one command came to."""

    command: str
    commit: str
    kills: int = 0
    lost: int = 0
    torn: int = 0
    failed: int = 0
    different: int = 0
    left_over: int = 0
    words: str = ""


def main() -> None:
    options = _options()
    where = machine(packages=("torch",))
    _warm()
    found = _earlier()
    if options.page:
        write_results("kills", where, [vars(each) for each in found.values()], _page(list(found.values())))
        return
    for name in options.only.split(",") if options.only else COMMANDS:
        outcome = Outcome(name, where["commit"])
        _kill(outcome, options.kills, random.Random(f"{options.seed} {name}"))
        found[name] = outcome
        print(outcome, flush=True)
        write_results("kills", where, [vars(each) for each in found.values()], _page(list(found.values())))
    bases.clear()


def _earlier() -> dict[str, Outcome]:
    """The rows that are there, by command."""
    path = RESULTS / "kills.json"
    if not path.is_file():
        return {}
    document = json.loads(path.read_text())
    rows = ({"commit": document["machine"]["commit"], **row} for row in document["results"])
    for row in (found := list(rows)):
        row["words"] = re.sub(r"/\S*/kills_\w+/\w+/", "", row["words"])
    return {row["command"]: Outcome(**row) for row in found}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--page", action="store_true", help="Write the page anew, and kill nothing.")
    return parser.parse_args()


def _warm() -> None:
    import torch

    import autoseg.cli.app
    import autoseg.export.to_nnunet
    import autoseg.inference.ensemble
    import autoseg.inference.predict_dicom
    import autoseg.intake.conversion
    import autoseg.intake.repair
    import autoseg.leaderboard.page.page
    import autoseg.pipeline.external_validation
    import autoseg.pipeline.quality
    import autoseg.pipeline.review
    import autoseg.pipeline.walk
    import autoseg.trainers.nnunet

    torch.set_num_threads(1)
    autoseg.data.intensities.SAMPLES = 10**6


ONE = ["--workers=1", "--quiet"]


def _command(name: str, folder: Path) -> list[str]:
    """Write what a command starts from into an empty folder; give the command."""
    workspace = bases.walked(folder)
    model = workspace / "results" / "Dataset905_Discs" / bases.RUN
    if name in NEW:
        return _new_command(name, folder, model)
    if name in ("import", "preprocess", "verify", "train"):
        root = bases.dataset(folder / "source") if name == "import" else bases.pictures(folder)
    if name == "import":
        return ["import", str(root), "--name=Again", *ONE]
    if name == "preprocess":
        return ["preprocess", str(root), *ONE]
    if name == "predict":
        return ["predict", str(model), str(workspace / "new"), str(folder / "out"), "--device=cpu", "--quiet"]
    if name == "export":
        return ["export", str(model), str(folder / "out" / "model"), "--to=nnunet", "--quiet"]
    if name == "leaderboard":
        out = folder / "out"
        files = [f"--csv={out}/rows.csv", f"--html={out}/rows.html", f"--export={out}/rows.jsonl"]
        return ["leaderboard", "Dataset905_Discs", *files, "--quiet"]
    length = ["--steps=20", "--small", "--folds=0", "--trainers=nnunet", "--device=cpu", "--memory=4GB"]
    return ["plan-and-train", str(root), *length, *ONE]


NEW = ("dicom-seg", "validate", "review", "fix", "quality", "untrusted")


def _new_command(name: str, folder: Path, model: Path) -> list[str]:
    """The same for what came later."""
    device = ["--device=cpu", "--quiet"]
    if name == "dicom-seg":
        model = Path(shutil.copytree(_volume_model(), folder / "model"))
        write_series(folder / "source", modality="MR")
        to = ["--to=dicom-seg", *device]
        return ["predict", str(model), str(folder / "source"), str(folder / "out"), *to]
    if name == "validate":
        elsewhere = folder / "source" / "Dataset906_Elsewhere"
        shutil.copytree(folder / "workspace" / "raw" / "Dataset905_Discs", elsewhere)
        for path in (elsewhere / "imagesTr").iterdir():
            picture = Image.open(path)
            picture.point(lambda value: value // 2 + 9).save(path)
        return ["validate", str(model), str(elsewhere), *device]
    if name == "review":
        return ["review", "Dataset905_Discs", f"--model={model}", "--workers=1", *device]
    if name == "quality":
        return ["quality", str(model), "--workers=1", *device]
    root = bases.dataset(folder / "source")
    if name == "untrusted":
        return ["import", str(root), "--name=Again", "--untrusted", *ONE]
    for path in (root / "labelsTr").iterdir():  # what is mended: labels of 255, not 1
        label = sitk.ReadImage(str(path))
        sitk.WriteImage(label * 255, str(path))
    return ["verify", str(root), f"--fix={folder / 'out' / 'Dataset502_Mended'}", *ONE]


@cache
def _volume_model() -> Path:
    """A model of volumes, trained for two steps: results of a DICOM series need a place in the patient."""
    folder = Path(tempfile.mkdtemp(prefix="kills_model_"))
    root = bases.dataset(folder)
    length = ["--steps=2", "--small", "--folds=0", "--trainers=nnunet", "--configuration=3d_fullres"]
    command = ["plan-and-train", str(root), *length, "--device=cpu", "--memory=4GB", *ONE]
    status, _ = _run(command, folder, None)
    if status != 0:
        raise RuntimeError(f"the model was not trained: {(folder / 'log').read_text()[-500:]}")
    (checkpoint,) = (folder / "workspace" / "results").glob("*/*/fold_0/checkpoint_final.pth")
    return checkpoint.parents[1]


COMMANDS = ("import", "preprocess", "predict", "export", "leaderboard", "train", *NEW)
# Of these the files are compared with those of a run to the end; times stand in all others.
COMPARED: dict[str, tuple[str, ...]] = {
    "import": ("workspace/raw/*/*/*", "workspace/raw/*/dataset.json"),
    "preprocess": ("workspace/preprocessed/Dataset501_Base/**/*.b2nd",),
    "predict": ("out/*.png",),
    "export": ("out/model/**/plans.json", "out/model/**/*.pth"),
    "leaderboard": ("out/rows.csv", "out/rows.jsonl"),
    "train": ("workspace/preprocessed/Dataset501_Base/**/*.b2nd",),
    "dicom-seg": ("out/*.dcm",),
    "validate": ("workspace/results/Dataset906_Elsewhere/**/*.png",),
    "review": ("workspace/results/Dataset905_Discs/**/label_review.csv",),
    "fix": ("out/*/*/*", "out/*/dataset.json"),
    "quality": ("workspace/results/Dataset905_Discs/*/quality.json",),
    "untrusted": ("workspace/raw/Dataset*_Again/*/*", "workspace/raw/Dataset*_Again/dataset.json"),
}


def _kill(outcome: Outcome, kills: int, rng: random.Random) -> None:
    name = outcome.command
    with tempfile.TemporaryDirectory(prefix="kills_") as place:
        whole = Path(place) / "whole"
        whole.mkdir()
        status, cpu_s = _run(_command(name, whole), whole, None)
        if status != 0:
            raise RuntimeError(f"{name} failed: {(whole / 'log').read_text()[-500:]}")
        wanted = _contents(whole, name)
        if not wanted:
            raise RuntimeError(f"{name} left no file that could be compared")
        while outcome.kills < kills:
            folder = Path(place) / f"after_{outcome.kills}"
            folder.mkdir()
            count = min(IN_A_ROW, kills - outcome.kills)
            _row_of_kills(_command(name, folder), folder, count, cpu_s, rng, outcome)
            status, _ = _run(_command_again(name, folder), folder, None)
            # An export that was complete when it was killed is there, and is not replaced.
            if name in ("export", "fix") and "is there already" in (folder / "log").read_text():
                status = 0
            outcome.failed += status != 0
            outcome.different += _contents(folder, name) != wanted
            outcome.left_over += sum(1 for path in folder.rglob(".[0-9]*.*") if path.exists())
            if status != 0:
                outcome.words = (folder / "log").read_text()[-300:]
            shutil.rmtree(folder)


def _row_of_kills(
    command: list[str], folder: Path, count: int, cpu_s: float, rng: random.Random, outcome: Outcome
) -> None:
    before = _known(folder)
    for _ in range(count):
        _run(command, folder, rng.uniform(0.02, 0.98) * cpu_s)
        outcome.kills += 1
        after = _known(folder)
        outcome.lost += any(after.get(path) != digest for path, digest in before.items())
        problems = [problem for path in seen(folder) if (problem := torn(path))]
        outcome.torn += bool(problems)
        outcome.words = outcome.words or "; ".join(problems)[:300]


def _command_again(name: str, folder: Path) -> list[str]:
    """The same command on what is there."""
    with tempfile.TemporaryDirectory() as other:
        made = _command(name, Path(other))
        return [word.replace(other, str(folder)) for word in made]


def _run(command: list[str], folder: Path, kill_at_s: float | None) -> tuple[int, float]:
    """Run a command in a forked process, and kill it at a processor time; exit status and processor time."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        _child(command, folder)
    while kill_at_s is not None and not _ended(pid):
        if _cpu_s(pid) >= kill_at_s:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            break
        time.sleep(0.002)
    _, status, used = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime


def _child(command: list[str], folder: Path) -> None:
    status = 70
    try:
        os.setpgid(0, 0)
        os.environ |= {"AUTOSEG_WORKSPACE": str(folder / "workspace")}
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = ["autoseg", *command]
        from autoseg.cli import app

        app.main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
    finally:
        os._exit(status)


def _ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _cpu_s(root: int) -> float:
    """Of a process and its children."""
    total = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text("utf-8", "replace").rpartition(")")[2].split()
            if int(fields[2]) == root:  # its process group
                total += (int(fields[11]) + int(fields[12])) / _TICKS
    return total


def seen(folder: Path) -> list[Path]:
    """Files that nobody hides."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "log")
    return [p for p in files if not any(part.startswith(".") for part in p.relative_to(folder).parts)]


def _known(folder: Path) -> dict[str, str]:
    """The files of the source and of the workspace's finished runs."""
    places = (folder / "source", folder / bases.NAME, folder / "workspace" / "raw" / "Dataset905_Discs")
    runs = (folder / "workspace" / "results" / "Dataset905_Discs").glob("*/fold_0")
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for place in (*places, *runs)
        for path in (place.rglob("*") if place.is_dir() else ())
        if path.is_file() and not path.name.endswith("lease.json")
    }


def torn(path: Path) -> str:
    """What is wrong with a file that ought to be whole; empty: nothing."""
    try:
        _read(path)
    except Exception as problem:
        return f"{path.name}: {type(problem).__name__}: {problem}"
    return ""


def _read(path: Path) -> None:
    """Read a file whole, by its ending."""
    from autoseg.data.readers import read_file
    from autoseg.preprocessing.blosc_store import read_preprocessed

    if path.suffix == ".json":
        json.loads(path.read_text())
    elif path.suffix == ".jsonl":
        [json.loads(line) for line in path.read_text().splitlines()]
    elif path.suffix == ".csv":
        list(csv.reader(path.read_text().splitlines()))
    elif path.suffix == ".html":
        assert path.read_text().rstrip().endswith("</html>"), "no end"
    elif path.name.endswith(".nii.gz"):
        read_file(path, "SimpleITKIO")
    elif path.suffix == ".png" and "progress" not in path.name:
        read_file(path, "NaturalImage2DIO")
    elif path.suffix in (".pth", ".zip"):
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None, "a part is damaged"
    elif path.suffix == ".b2nd" and not path.name.endswith("_seg.b2nd"):
        read_preprocessed(path.parent, path.stem)


def _contents(folder: Path, name: str) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(_compared(path)).hexdigest()
        for pattern in COMPARED[name]
        for path in sorted(folder.glob(pattern))
        if path.is_file()
    }


def _compared(path: Path) -> bytes:
    """What has to be equal: of a DICOM object, which says when it was made, the voxels and their places."""
    if path.suffix != ".dcm":
        return path.read_bytes()
    import pydicom

    found = pydicom.dcmread(path)
    return found.PixelData + str(found.PerFrameFunctionalGroupsSequence).encode()


def _page(found: list[Outcome]) -> str:
    kills = sum(each.kills for each in found)
    lines = [
        "# Killed commands",
        "",
        f"{kills} times SIGKILL at a random share of the processor time, up to {IN_A_ROW} in a row, then "
        "run to the end. Lost: a file that was there before is gone or changed. Torn: a file that is seen "
        "cannot be read. Failed: the last run did not end with 0. Different: its files are not those without "
        "kills.",
        "",
        "| command | kills | lost | torn | failed | different | hidden files left | words | commit |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for each in found:
        numbers = (each.kills, each.lost, each.torn, each.failed, each.different, each.left_over)
        words = each.words.replace("|", "/").replace("\n", " ")
        lines.append(f"| {each.command} | {' | '.join(map(str, numbers))} | {words} | `{each.commit}` |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
