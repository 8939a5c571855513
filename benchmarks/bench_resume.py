"""Commands that something happens to: killed, terminated, without room, with damaged files, two at a time.

    python benchmarks/bench_resume.py [--seed N] [--only STAGE] [--log FILE]

Tiny generated data sets are walked once undisturbed. Then the same commands run in processes of their own,
and something happens to each at a moment drawn from the seed, in seconds of processor time or at a step.
Typed again, they have to end with what the undisturbed one ended with: weights, optimiser and logged losses
bit for bit, segmentations, scores, preprocessed cases and pages likewise, and the number of steps. Whatever
ends with a message has to end with one that a user understands, and never with a traceback.

With a log, a run that was stopped goes on:
what stands there is not done again. The disks without room are file systems in memory, which only a superuser
may make.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from _machine import machine, write_results
from _resume import STEPS_A_CHECKPOINT, Command, children, content, kill, there, used

PICTURES, VOLUMES = "Dataset902_DemoUltrasound", "Dataset901_DemoMR"
TRAINERS = {
    PICTURES: "nnunet:width=4:schedule=plateau:plateau_patience=1:stopping_patience=50:best_checkpoints=2",
    VOLUMES: "nnunet:width=4",
}
STEPS = 20
NOT_FULL = "nothing: it ended, for the disk had room"
# The last of the plan that walks the volumes.
VOLUMES_UNTIL = 14


@dataclass(frozen=True)
class Kill:
    """What happened to a command, and what became of it.

    Attributes:
        stage: which command.
        what: what happened to it.
        where: how far it had come.
        outcome: ``equal`` once typed again, or what is different.
        words: what it said, where it ended with a message.
    """

    stage: str
    what: str
    where: str
    outcome: str
    words: str = ""
    commit: str = ""


class Bench:
    """A folder with an undisturbed workspace, and copies of its beginning."""

    def __init__(self, place: Path, seed: int) -> None:
        self.place, self.draw, self.count = place, random.Random(seed), 0
        self.expected: dict[str, dict[str, str]] = {}
        self.cost: dict[str, float] = {}
        self.takes: dict[str, int] = {}

    def command(self, stage: str, dataset: str, root: Path) -> Command:
        """A stage's command line on a workspace."""
        data, out = root / "raw" / dataset, root / "out"
        model = next((root / "results" / dataset).glob("nnunet__*"), root) if stage == "predict" else root
        arguments = {
            "walk": [
                *("plan-and-train", str(data), "--trainers", TRAINERS[dataset], "--steps", str(STEPS)),
                *("--small", "--folds", "0", "--device", "cpu", "--workers", "1"),
            ],
            "preprocess": ["preprocess", str(data), "--configuration", "2d", "--workers", "2"],
            "predict": ["predict", str(model), str(data / "imagesTr"), str(out), "--device", "cpu"],
            "leaderboard": ["leaderboard", dataset, "--html", str(out / "page.html")],
        }[stage]
        if stage != "predict":
            arguments += ["--workspace", str(root)]
        return Command(arguments, root.with_name(f"{root.name}_said"))

    def fresh(self, stage: str, dataset: str) -> Path:
        """A workspace in which that stage can begin."""
        self.count += 1
        root = self.place / f"{self.count:02d}"
        done = self.place / f"walk_{dataset}"
        shutil.copytree(done if stage in ("predict", "leaderboard") else self.place / "raw_only", root)
        (root / "out").mkdir(exist_ok=True)
        return root

    def undisturbed(self, stage: str, dataset: str) -> None:
        """Run a stage to its end, twice for the walk: two of them have to be equal as well."""
        found = []
        for _ in range(2 if stage == "walk" else 1):
            root = self.fresh(stage, dataset)
            before = _bytes(root)
            command = self.command(stage, dataset, root).start()
            command.until()
            self.takes[stage + dataset] = _bytes(root) - before
            if command.status != 0:
                raise SystemExit(f"{stage} of {dataset} failed undisturbed: {command.words}")
            found.append(content(root))
            if stage == "walk" and len(found) == 1:
                shutil.copytree(root, self.place / f"walk_{dataset}")
        if found[0] != found[-1]:
            raise SystemExit(f"two undisturbed walks of {dataset} differ: {_different(found[0], found[-1])}")
        self.expected[stage + dataset], self.cost[stage + dataset] = found[0], command.cpu_s

    def again(self, stage: str, dataset: str, root: Path) -> str:
        """Type the command again; what is different then."""
        command = self.command(stage, dataset, root).start()
        command.until()
        if command.status != 0:
            return f"typed again it ended with {command.status}: {command.words}"
        return _different(self.expected[stage + dataset], content(root)) or "equal"

    def moment(self, stage: str, dataset: str) -> float:
        """A moment of the command, in seconds of processor time."""
        return self.draw.uniform(0.03, 0.97) * self.cost[stage + dataset]


def _different(expected: dict[str, str], found: dict[str, str]) -> str:
    names = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
    return f"{len(names)} differ, first {names[0]}" if names else ""


def _where(root: Path) -> str:
    """How far a walk had come."""
    if not any(root.rglob("training_log*")):
        return "before training"
    if not any(root.rglob("checkpoint_final.pth")):
        return (
            "in training, "
            + ("with" if any(root.rglob("checkpoint_latest.pth")) else "before a")
            + " checkpoint"
        )
    return "after evaluation" if any(root.rglob("record.jsonl")) else "in prediction and evaluation"


def signalled(bench: Bench, stage: str, dataset: str, number: signal.Signals) -> Kill:
    """A signal at a drawn moment."""
    root, moment = bench.fresh(stage, dataset), bench.moment(stage, dataset)
    command = bench.command(stage, dataset, root).start()
    if command.until(used(moment)):
        kill(command, number)
    where = f"{moment:.1f} of {bench.cost[stage + dataset]:.1f} CPU s" + (
        f", {_where(root)}" if stage == "walk" else ""
    )
    unforeseen = number == signal.SIGTERM and command.status not in (0, 130, 143, -15)
    words = command.words if number == signal.SIGTERM and command.status else ""
    outcome = f"ended with {command.status}" if unforeseen else bench.again(stage, dataset, root)
    return Kill(stage, number.name, where, outcome, words)


def damaged(bench: Bench, dataset: str, how: str) -> Kill:
    """Killed in training once there are two checkpoints; the newest is damaged."""
    root = bench.fresh("walk", dataset)
    command = bench.command("walk", dataset, root).start()
    command.until(there(root, "checkpoint_previous.pth"))
    kill(command)
    path = next(root.rglob("checkpoint_latest.pth"), None) or next(root.rglob("checkpoint_previous.pth"))
    size = path.stat().st_size
    if how == "a bit flipped":
        body = bytearray(path.read_bytes())
        body[bench.draw.randrange(size // 4, size * 3 // 4)] ^= 1 << bench.draw.randrange(8)
        path.write_bytes(body)
    else:
        os.truncate(path, {"cut": bench.draw.randrange(1, size), "emptied": 0}[how])
    return Kill("walk", f"{path.name} {how}", _where(root), bench.again("walk", dataset, root))


def full(bench: Bench, stage: str, dataset: str, room: float) -> Kill:
    """A disk that is full before the end; then there is room, and the command is typed again."""
    what = f"full disk, {100 * room:.0f} % of what it takes"
    source = bench.fresh(stage, dataset)
    before, needed = _bytes(source), bench.takes[stage + dataset]
    root = bench.place / f"{source.name}_disk"
    root.mkdir()
    mount = [
        "mount",
        "-t",
        "tmpfs",
        "-o",
        f"size={int(before + room * needed) // 4096 * 4}k",
        "tmpfs",
        str(root),
    ]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        return Kill(stage, what, "", "not tried: no right to make a file system")
    try:
        shutil.copytree(source, root, dirs_exist_ok=True)
        command = bench.command(stage, dataset, root).start()
        command.until()
        where, words = _where(root) if stage == "walk" else "", command.words
        if command.status == 0:
            return Kill(stage, what, where, NOT_FULL)
        if not command.refused:
            return Kill(stage, what, where, f"no refusal in words: status {command.status}", words)
        subprocess.run(["mount", "-o", "remount,size=1g", str(root)], check=True)
        return Kill(stage, what, where, bench.again(stage, dataset, root), words)
    finally:
        subprocess.run(["umount", str(root)], check=False)


def _bytes(root: Path) -> int:
    """What a folder takes in a file system in memory: whole pages of files, nothing for folders."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in root.rglob("*") if path.is_file())


def two(bench: Bench, dataset: str) -> Kill:
    """The same command a second time while the first is in training."""
    root = bench.fresh("walk", dataset)
    first = bench.command("walk", dataset, root).start()
    first.until(there(root, "checkpoint_latest.pth"))
    second = bench.command("walk", dataset, root)
    second.folder = second.folder.with_name(f"{second.folder.name}_second")
    first.send(signal.SIGSTOP)
    second.start().until()
    first.send(signal.SIGCONT)
    first.until()
    outcome = _different(bench.expected["walk" + dataset], content(root)) or "equal"
    if not second.refused or first.status != 0:
        outcome = f"statuses {first.status} and {second.status}"
    return Kill("walk", "a second process in the same folder", "in training", outcome, second.words)


def worker(bench: Bench, dataset: str) -> Kill:
    """One of two workers is killed."""
    root = bench.fresh("preprocess", dataset)
    command = bench.command("preprocess", dataset, root).start()
    if command.until(lambda each: len(children(each)) > 1):
        os.kill(bench.draw.choice(children(command)), signal.SIGKILL)
        command.until()
    if command.status and not command.refused:
        return Kill("preprocess", "dead worker", "", f"status {command.status}", command.words)
    where, words = ("reported", command.words) if command.status else ("its work was done", "")
    return Kill("preprocess", "dead worker", where, bench.again("preprocess", dataset, root), words)


def plan(bench: Bench) -> list[tuple[str, Callable[[], Kill]]]:
    """What is done, by stage."""

    def signals(stage: str, dataset: str, number: signal.Signals, times: int) -> list[Any]:
        return [(stage, lambda: signalled(bench, stage, dataset, number))] * times

    return [
        *signals("walk", PICTURES, signal.SIGKILL, 10),
        *signals("walk", VOLUMES, signal.SIGKILL, 4),
        *signals("walk", PICTURES, signal.SIGTERM, 4),
        *(("walk", lambda how=how: damaged(bench, PICTURES, how)) for how in ("a bit flipped",) * 2),
        *(("walk", lambda how=how: damaged(bench, PICTURES, how)) for how in ("cut", "emptied")),
        *(("walk", lambda room=room: full(bench, "walk", PICTURES, room)) for room in (0.02, 0.4, 0.8)),
        *[("walk", lambda: two(bench, PICTURES))] * 2,
        *signals("preprocess", PICTURES, signal.SIGKILL, 3),
        *[("preprocess", lambda: worker(bench, PICTURES))] * 3,
        *signals("predict", PICTURES, signal.SIGKILL, 4),
        ("predict", lambda: full(bench, "predict", PICTURES, 0.1)),
        *signals("leaderboard", PICTURES, signal.SIGKILL, 4),
    ]


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one stage: walk, preprocess, predict or leaderboard; writes nothing")
    parser.add_argument("--log", type=Path, help="a line each; run again, it goes on there")
    parser.add_argument("--most", type=int, help="only so many")
    parser.add_argument("--no-results", dest="results", action="store_false", help="print, write nothing")
    options = parser.parse_args()
    where = machine(packages=("torch", "nnunetv2"))
    _import_once()
    kills = _logged(options.log)
    with tempfile.TemporaryDirectory(prefix="resume_", ignore_cleanup_errors=True) as place:
        bench = Bench(Path(place), options.seed)
        ahead = list(enumerate(plan(bench)))[len(kills) : options.most]
        if ahead:
            _undisturbed(bench, [PICTURES, VOLUMES] if len(kills) < VOLUMES_UNTIL else [PICTURES])
        for number, (stage, happen) in ahead:
            if options.only in (None, stage):
                bench.draw = random.Random(f"{options.seed} {number}")
                kills.append(replace(happen(), commit=where["commit"]))
                print(kills[-1], flush=True)
                _log(kills[-1], options.log)
    if options.results and options.only is None:
        write_results("resume", where, [asdict(each) for each in kills], _report(kills))


def _undisturbed(bench: Bench, datasets: list[str]) -> None:
    _data(bench.place / "raw_only")
    for dataset in datasets:
        bench.undisturbed("walk", dataset)
    for stage in ("preprocess", "predict", "leaderboard"):
        bench.undisturbed(stage, PICTURES)


def _logged(log: Path | None) -> list[Kill]:
    lines = [] if log is None or not log.is_file() else log.read_text().splitlines()
    return [Kill(**json.loads(line)) for line in lines]


def _log(kill: Kill, log: Path | None) -> None:
    if log is not None:
        with log.open("a") as file:
            file.write(json.dumps(asdict(kill)) + "\n")


def _import_once() -> None:
    """What the commands import, so that the forked processes need not."""
    import nnunetv2.training.nnUNetTrainer.nnUNetTrainer  # noqa: F401
    import torch

    import autoseg.inference.predict
    import autoseg.leaderboard.of_workspace
    import autoseg.pipeline.walk
    import autoseg.training.training_run  # noqa: F401

    torch.set_num_threads(1)


def _data(root: Path) -> None:
    from autoseg.data.synthetic import make_demo

    make_demo(root / "raw", cases=(4, 8))


def _report(kills: list[Kill]) -> str:
    good, commits = sum(each.outcome == "equal" for each in kills), Counter(each.commit for each in kills)
    lines = [
        "# Commands that something happens to",
        "",
        f"{good} of {len(kills)} end, once typed again, with what the undisturbed command ended with:",
        "weights, optimiser, logged losses and steps, segmentations, scores, preprocessed cases and page,",
        f"byte for byte without times. A checkpoint was written every {STEPS_A_CHECKPOINT} of {STEPS} steps.",
        f"Commits: {', '.join(f'{name} ({count})' for name, count in commits.items())}.",
        "",
        *(f"{each.stage}, {each.what}: this shows nothing." for each in kills if each.outcome == NOT_FULL),
        "",
        "| command | what happened | where | then |",
        "|---|---|---|---|",
        *(f"| {each.stage} | {each.what} | {each.where} | {each.outcome} |" for each in kills),
        "",
        "What was said, where a command ended with a message:",
        "",
        *sorted({f"- {each.what}: {_short(each.words)}" for each in kills if each.words}),
    ]
    return "\n".join(lines)


def _short(words: str) -> str:
    """Without the folder that this ran in."""
    return words.replace(tempfile.gettempdir(), "").replace("|", "/")


if __name__ == "__main__":
    main()
