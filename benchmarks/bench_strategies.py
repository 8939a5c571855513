"""The nine fine-tuning strategies of arXiv 2407.20086 on fetal heads, from weights that are made here.

    taskset -c 1 env OMP_NUM_THREADS=1 python benchmarks/bench_strategies.py --data FOLDER --workspace FOLDER

Encoders are pre-trained without labels on the training images of the fold, and on stained tissue; with
`--imagenet FILE` (torchvision's or timm's MobileNetV2) there is a third source. Every row has the same
network, patch, batch, learning rate and wall clock; only what is trained and where it starts from differs.
Run again, finished rows are skipped, and what stands under Discussion in results/strategies.md stays.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from _machine import machine
from _strategies import SOURCES, Finished, RowSpec, report, write

from autoseg.data.fingerprint import Fingerprint
from autoseg.evaluation.pixel_sizes import find_pixel_sizes
from autoseg.evaluation.scoring import evaluate
from autoseg.leaderboard.records.files import Record
from autoseg.leaderboard.records.scores import ScoreTable
from autoseg.pipeline.prepare import Prepared, prepare
from autoseg.pipeline.settings import Settings
from autoseg.pipeline.single_stages import pretrain_one
from autoseg.pipeline.trial import plan_for, run_trial
from autoseg.pipeline.trial_record import Trial
from autoseg.planner.plan import Plan
from autoseg.preprocessing.dataset import link_references
from autoseg.system.files import atomic_path, read_json, write_json
from autoseg.tailoring.request import Request, plan_name
from autoseg.tailoring.trainer_spec import Choice, Start
from autoseg.tailoring.variant import Variant
from autoseg.transfer.weight_files import read_weights
from autoseg.workspace import Workspace

TRAINER = "mobilenetv2_unet"
FETAL, TISSUE = "Dataset018_FetalHead", "Dataset021_NucleiColor"
PRETRAINED = ("all", "c", "d", "e", "f", "g", "h", "i")
log = logging.getLogger("bench_strategies")


def main() -> None:
    where = machine(packages=("torch", "nnunetv2", "segmentation-models-pytorch"))
    options = _arguments()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    log.setLevel(logging.INFO)
    place = Path(options.workspace or tempfile.mkdtemp(prefix="bench_strategies_"))
    walk = _Walk(Workspace.locate(place), Path(options.data), options)
    specs = [spec for spec in _specs(options) if options.rows is None or spec.name in options.rows]
    done: list[Finished] = []
    for spec in specs:
        for seed in options.seeds:
            done.append(walk.row(spec, seed))
            log.info("%s, seed %d: %s", spec.name, seed, done[-1].words)
        text, results = report(done, walk.pretrained, vars(options))
        write(options.output, where, results, text)
    print(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("AUTOSEG_TEST_DATA", "."), help="the raw data sets")
    parser.add_argument("--workspace", help="a temporary one by default")
    parser.add_argument("--seconds", type=float, default=150.0, help="of each row, prediction included")
    parser.add_argument("--pretrain-seconds", type=float, default=360.0, help="of each source of weights")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="of every row")
    parser.add_argument(
        "--parts", choices=("encoder", "whole"), default="encoder", help="what is taken; published: encoder"
    )
    parser.add_argument("--imagenet", type=Path, help="weights of MobileNetV2, a file")
    parser.add_argument("--rows", nargs="+", help="only these: random:all random:a fetal:d tissue:i ...")
    parser.add_argument("--output", default="strategies", help="name of the two files under results/")
    return parser.parse_args()


def _specs(options: argparse.Namespace) -> Iterator[RowSpec]:
    """The rows: all weights trained from random ones, a and b, then the others from every source."""
    for strategy in ("all", "a", "b"):
        yield RowSpec("random", strategy)
    sources = [source for source in SOURCES if source != "imagenet" or options.imagenet]
    for strategy in PRETRAINED:
        for source in sources:
            yield RowSpec(source, strategy)


class _Walk:
    """Everything that rows share: data, folds, the plan, weights made so far."""

    def __init__(self, workspace: Workspace, data: Path, options: argparse.Namespace) -> None:
        self.workspace, self.data, self.options = workspace, data, options
        self.prepared: Prepared = prepare(data / FETAL, workspace, Settings(workers=1))
        self.fold = self.prepared.folds[0]
        self.pixel_sizes = find_pixel_sizes(f"{data / FETAL / 'cases.csv'}:pixel_mm_half")
        self.pretrained: dict[str, Any] = {}
        home = workspace.preprocessed_of(FETAL)
        link_references(self.prepared.dataset, home / "gt_segmentations")
        base = self._choice("random", "all")
        self.base = plan_for(Variant(*self._facts, base, self._request(0)), workspace)

    @property
    def _facts(self) -> tuple[Any, Fingerprint]:
        return self.prepared.dataset, self.prepared.fingerprint

    def _request(self, seed: int, seconds: float | None = None) -> Request:
        return Request(torch.device("cpu"), run_s=seconds or self.options.seconds, seed=seed)

    def _choice(self, source: str, strategy: str) -> Choice:
        given: dict[str, Any] = {"learning_rate": self.options.learning_rate}
        if source != "random":
            given["init"] = str(self._weights(source))
        if strategy != "all":
            given["finetune"] = strategy
        return Choice(TRAINER, given)

    def _same_size(self, choice: Choice, request: Request) -> None:
        """Give a row the plan of all rows: left to itself, each would measure its own step time."""
        path = self.workspace.plan_of(FETAL, plan_name(choice, request, self.prepared.fingerprint))
        if not path.is_file():
            _like(self.base, choice, request, path.stem).save(path)

    def row(self, spec: RowSpec, seed: int) -> Finished:
        """Train, predict and score one row, or take it from disk."""
        choice, request = self._choice(spec.source, spec.strategy), self._request(seed)
        self._same_size(choice, request)
        prepared = self.prepared
        trial = Trial(prepared.dataset, prepared.fingerprint, prepared.folds, choice, self.fold, request)
        record = run_trial(trial, self.workspace, workers=1)
        return Finished(spec, seed, record, self._in_mm(record) if record.source else None)

    def _in_mm(self, record: Record) -> Record:
        """The same predictions scored with pixel sizes."""
        assert record.source is not None
        evaluation = evaluate(
            record.source.parent / "validation",
            self.prepared.dataset,
            cases=self.fold.validation,
            metrics=["dice", "pooled_dice", "hc_error", "hc_absolute_error"],
            pixel_sizes=self.pixel_sizes,
            workers=1,
        )
        groups = self.prepared.dataset.groups
        return dataclasses.replace(
            record, settings=evaluation.settings, scores=ScoreTable.from_evaluation(evaluation, groups)
        )

    def _weights(self, source: str) -> Path:
        """The file of weights of a source: made at the first call, then from disk."""
        if source == "imagenet":
            return Path(self.options.imagenet).absolute()
        about = self.workspace.results / "weights" / f"{source}.json"
        if not about.is_file():
            write_json(about, self._pretrain(source))
        self.pretrained[source] = read_json(about)
        kept = about.with_name(f"{source}_{self.options.parts}.pth")
        if not kept.is_file():
            _keep(self.workspace.results / self.pretrained[source]["file"], kept, self.options.parts)
        return kept

    def _pretrain(self, source: str) -> dict[str, Any]:
        dataset, fold = (FETAL, 0) if source == "fetal" else (TISSUE, "all")
        seconds = self.options.pretrain_seconds
        if source == "fetal":
            self._same_size(Choice(TRAINER), self._request(0, seconds))
        log.info("Pre-training on %s, %.0f s.", dataset, seconds)
        settings = Settings(total_s=seconds, device="cpu", workers=1)
        done = pretrain_one(self.data / dataset, TRAINER, fold, self.workspace, settings)
        facts = {key: value for key, value in dataclasses.asdict(done).items() if key != "path"}
        return {"dataset": dataset, **facts, "file": str(done.path.relative_to(self.workspace.results))}


def _like(base: Plan, choice: Choice, request: Request, name: str) -> Plan:
    """The plan of one row: the common one, with what this row starts from."""
    start = Start.of(choice)
    common = base.require_training()
    training = dataclasses.replace(
        common,
        options=dict(choice.options),
        seed=request.seed,
        run_s=request.member_s,
        changes=(*common.changes, *start.words),
    )
    return dataclasses.replace(base, name=name, training=start.applied(training))


def _keep(checkpoint: Path, output: Path, parts: str) -> None:
    """Write the tensors of some parts: the published weights are those of an encoder alone."""
    prefix = "encoder." if parts == "encoder" else ""
    weights = read_weights(checkpoint).tensors
    chosen = {name: value for name, value in weights.items() if name.startswith(prefix)}
    with atomic_path(output) as path:
        torch.save({"network_weights": chosen}, path)


if __name__ == "__main__":
    main()
