"""Commands that are killed (SIGKILL) at seeded moments and run again: nothing is lost, torn, or different.

    python benchmarks/bench_kills.py [--kills 10] [--seed 0] [--only import,preprocess]
    python benchmarks/bench_kills.py --kills 2 --only serve,calibrate,postprocess,rtstruct,dicom,web,cascade

With --only, the rows of the other commands stay as they were; every row states its commit.

Each command runs once to its end; then it is killed at a random share of the processor time that it took,
begun again, killed again, five times in a row, and run to its end. After every kill all files that anybody
can see are read, and what was there before the command has to be unchanged. In the end the files have to be
those of the run that nobody killed. Of a training only the files are looked at, not the weights.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import random
import re
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import _edge_bases as bases
from _kill_process import run
from _killed_commands import COMMANDS, COMPARED, command_of, compared
from _machine import RESULTS, machine, write_results

IN_A_ROW = 5


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
    import autoseg.pipeline.calibrate
    import autoseg.pipeline.external_validation
    import autoseg.pipeline.postprocessing_of_models
    import autoseg.pipeline.quality
    import autoseg.pipeline.review
    import autoseg.pipeline.walk
    import autoseg.serving.server
    import autoseg.trainers.nnunet

    torch.set_num_threads(1)
    autoseg.data.intensities.SAMPLES = 10**6


def _kill(outcome: Outcome, kills: int, rng: random.Random) -> None:
    name = outcome.command
    with tempfile.TemporaryDirectory(prefix="kills_") as place:
        whole = Path(place) / "whole"
        whole.mkdir()
        status, cpu_s = run(command_of(name, whole), whole, None)
        if status != 0:
            raise RuntimeError(f"{name} failed: {(whole / 'log').read_text()[-500:]}")
        wanted = _contents(whole, name)
        if not wanted:
            raise RuntimeError(f"{name} left no file that could be compared")
        while outcome.kills < kills:
            folder = Path(place) / f"after_{outcome.kills}"
            folder.mkdir()
            count = min(IN_A_ROW, kills - outcome.kills)
            _row_of_kills(command_of(name, folder), folder, count, cpu_s, rng, outcome)
            status, _ = run(_command_again(name, folder), folder, None)
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
        run(command, folder, rng.uniform(0.02, 0.98) * cpu_s)
        outcome.kills += 1
        after = _known(folder)
        outcome.lost += any(after.get(path) != digest for path, digest in before.items())
        problems = [problem for path in seen(folder) if (problem := torn(path))]
        outcome.torn += bool(problems)
        outcome.words = outcome.words or "; ".join(problems)[:300]


def _command_again(name: str, folder: Path) -> list[str]:
    """The same command on what is there."""
    with tempfile.TemporaryDirectory() as other:
        made = command_of(name, Path(other))
        return [word.replace(other, str(folder)) for word in made]


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
    import blosc2

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
    elif path.suffix == ".b2nd" and path.parent.parent.name == "predicted_next_stage":
        blosc2.open(str(path), mode="r")[:]
    elif path.suffix == ".b2nd" and not path.name.endswith("_seg.b2nd"):
        read_preprocessed(path.parent, path.stem)


def _contents(folder: Path, name: str) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(compared(path)).hexdigest()
        for pattern in COMPARED[name]
        for path in sorted(folder.glob(pattern))
        if path.is_file()
    }


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
