"""What a suite may say: its keys, their values, and what makes no sense together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic_core import PydanticCustomError

from autoseg import plugins
from autoseg.benchmark.suite.sources import ForeignEntries, FromSource
from autoseg.benchmark.suite.trainer_facts import GROUPS, in_group
from autoseg.errors import UsageError
from autoseg.racing.race import LATEST_RUNG, Rules
from autoseg.racing.verdict import FEWEST_CASES
from autoseg.system.amounts import parse_duration, parse_memory
from autoseg.system.option_values import nearest
from autoseg.tailoring.spec_text import check_length, read_spec, split_spec
from autoseg.transfer.strategies import strategy_named

DEMO = ("Dataset901_DemoMR", "Dataset902_DemoUltrasound")
PERCENT = r"^[0-9.]+%$"
Fold = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0)]


def _listed(value: Any) -> Any:
    """One value stands for a list of one."""
    return [value] if isinstance(value, str | int | float | Mapping) else value


def _seconds(value: Any) -> Any:
    return _amount(parse_duration, value)


def _gigabytes(value: Any) -> Any:
    return _amount(parse_memory, value)


def _amount(parse: Any, value: Any) -> Any:
    try:
        return parse(str(value)) if isinstance(value, str | int | float) else value
    except UsageError as problem:
        raise ValueError(str(problem)) from None


Seconds = Annotated[float, BeforeValidator(_seconds)]
Gigabytes = Annotated[float, BeforeValidator(_gigabytes)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class DatasetEntry(FromSource):
    """A data set of a suite.

    Attributes:
        dataset: name or id in the workspace, or the path of a raw folder (relative to the suite's file); of
            one that is imported, the name that it gets, with its number.
        groups: table of case and group.
    """

    dataset: str
    groups: Path | None = None

    @model_validator(mode="after")
    def _named(self) -> DatasetEntry:
        if self.source is not None and not re.fullmatch(r"Dataset\d{3,}_.+", self.dataset):
            raise ValueError(f"{self.dataset!r} is imported and needs its number: dataset: Dataset101_Name.")
        return self

    @property
    def generated(self) -> bool:
        """Whether it is one of the demo's, made when it is needed."""
        return self.dataset in DEMO


class Budget(_Part):
    """How long runs may train: by the clock, or by steps, which are the same on every machine.

    Attributes:
        per_run: seconds of each run, prediction included.
        for_all: seconds, summed over all runs, whether they run at once or one after the other; every run
            gets the same share.
        steps: length of each run. No time is measured then: runs of one seed and as many cores have equal
            scores.
        small: with steps: the smallest batch, width and patch, for a look at the whole path in minutes.
    """

    per_run: Seconds | None = None
    for_all: Seconds | None = None
    steps: Annotated[int, Field(ge=10, multiple_of=10)] | None = None
    small: bool = False

    @model_validator(mode="after")
    def _one(self) -> Budget:
        if sum(each is not None for each in (self.per_run, self.for_all, self.steps)) != 1:
            raise ValueError("give one of per_run, for_all and steps, for example per_run: 30m.")
        if self.small and self.steps is None:
            raise ValueError("small goes with steps: the clock finds the size by itself.")
        return self


class Resources(_Part):
    """What one job requests from a scheduler.

    Attributes:
        gpus: devices of each machine; one run is trained on all of them together.
        nodes: machines that train one run together, by SLURM alone.
        cpus: cores.
        memory: memory of the machine, 10^9 bytes.
        time: limit in seconds; None: twice the estimate and at least an hour.
        partition: SLURM's partition or LSF's queue; None: the cluster's default.
        gpu_memory: memory of the device, 10^9 bytes, where a scheduler can reserve it.
    """

    gpus: Annotated[int, Field(ge=0, le=64)] = 0
    nodes: Annotated[int, Field(ge=1, le=64)] = 1
    cpus: Annotated[int, Field(ge=1)] = 1
    memory: Gigabytes = 4.0
    time: Seconds | None = None
    partition: Annotated[str, Field(pattern=r"^[\w.,-]+$")] | None = None
    gpu_memory: Gigabytes | None = None


class ResourcesOfStages(_Part):
    """Resources of runs and of everything else.

    Attributes:
        run: what a training or a prediction requests.
        prepare: what every other job requests.
    """

    run: Resources = Resources(gpus=1, cpus=8, memory=32.0)
    prepare: Resources = Resources(cpus=4, memory=16.0)


Names = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
Folds = Literal["all"] | Annotated[tuple[Fold, ...], BeforeValidator(_listed), Field(min_length=1)]
Cases = Annotated[
    tuple[Literal["all"] | Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=PERCENT)], ...],
    BeforeValidator(_listed),
    Field(min_length=1),
]


class Pattern(_Part):
    """Cells that are left out: those that fit every key given. Names take ``*`` and ``?``.

    Attributes:
        datasets, trainers, folds, seeds, init, cases: cells that have one of these.
    """

    datasets: Names | None = None
    trainers: Names | None = None
    folds: Annotated[tuple[Fold, ...], BeforeValidator(_listed)] | None = None
    seeds: Annotated[tuple[Seed, ...], BeforeValidator(_listed)] | None = None
    init: Names | None = None
    cases: Cases | None = None

    @model_validator(mode="after")
    def _something(self) -> Pattern:
        if not self.model_fields_set:
            raise ValueError("this would leave out everything. Name data sets, trainers, folds or seeds.")
        return self


def dataset_entries(value: Any) -> Any:
    entries: list[Any] = []
    for item in _listed(value) if value is not None else []:
        if item == "demo":
            entries += [{"dataset": name} for name in DEMO]
        else:
            entries.append({"dataset": str(item)} if isinstance(item, str | int) else item)
    return entries


def _trainer_texts(value: Any) -> Any:
    """``NAME``, ``NAME:option=value``, ``{NAME: {option: value}}`` or a group, as a list of texts."""
    listed = _listed(value)
    if not isinstance(listed, Sequence):
        return value
    found: dict[str, None] = {}
    for position, item in enumerate(listed):
        try:
            found.update(dict.fromkeys(_trainers_of(item)))
        except ValueError as problem:
            text = str(problem).replace("{", "{{").replace("}", "}}")
            raise PydanticCustomError("value_error", text, {"item": position}) from None
    return tuple(found)


def _trainers_of(item: Any) -> Sequence[str]:
    if isinstance(item, Mapping):
        if len(item) != 1 or not isinstance(next(iter(item.values())), Mapping):
            raise ValueError(f"{item!r} is not a trainer with options. Write deepmrseg: {{down_kernel: 2}}.")
        ((name, options),) = item.items()
        item = ":".join([str(name), *(f"{key}={_option(key, setting)}" for key, setting in options.items())])
    text = str(item)
    if text in GROUPS:
        return in_group(text)
    name = text.partition(":")[0]
    known = plugins.available("trainers")
    # Where a file lies depends on where the suite does: whoever reads that looks whether it is there.
    if name not in known and not name.endswith(".py"):
        raise ValueError(
            f"{name!r} is not a trainer.{nearest(name, known)} "
            f"Choose from {', '.join(known)}, one of the groups {', '.join(GROUPS)}, or the path of "
            f"a Python file."
        )
    try:
        # The options of a file are read when it is known where the file lies.
        (split_spec if name.endswith(".py") else read_spec)(text)
    except UsageError as problem:
        raise ValueError(str(problem)) from None
    return [text]


def _option(key: Any, value: Any) -> str:
    if not isinstance(value, str | int | float) or ":" in str(value):
        raise ValueError(f"the option {key}: {value!r} is not a number, truth value or word.")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _strategies(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name != "none":
            try:
                strategy_named(re.split(r"[:+]", name)[0])
            except UsageError as problem:
                raise ValueError(str(problem)) from None
    return names


class Axes(_Part):
    """What is crossed with what.

    Attributes:
        datasets: names, ids or paths, or mappings; ``demo`` stands for both generated ones.
        trainers: names with options, or groups: ``documented``, ``baselines``, ``all``, ``auto``.
        folds: indices of the folds that are held out.
        seeds: seeds of initialisation, sampling and augmentation.
        init: ``random``, ``imagenet`` or a checkpoint, each crossed with all else.
        finetune: strategies, by name; ``none`` for training everything as usual.
        cases: few-shot sizes: of the training cases a number or a part (``10%``), or ``all``.
        budget, epochs: how long a run trains; the trainer's own epochs where neither is given.
        configuration: one configuration for all, or what suits each data set and trainer.
    """

    datasets: Annotated[tuple[DatasetEntry, ...], BeforeValidator(dataset_entries), Field(min_length=1)]
    trainers: Annotated[tuple[str, ...], BeforeValidator(_trainer_texts), Field(min_length=1)]
    folds: Folds = "all"
    seeds: Annotated[tuple[Seed, ...], BeforeValidator(_listed), Field(min_length=1)] = (0,)
    init: Names = ("random",)
    finetune: Annotated[Names, AfterValidator(_strategies)] = ("none",)
    cases: Cases = ("all",)
    budget: Budget | None = None
    epochs: Annotated[int, Field(ge=1)] | None = None
    configuration: Literal["auto", "2d", "3d_fullres", "3d_lowres"] = "auto"

    @model_validator(mode="after")
    def _how_long(self) -> Axes:
        if self.budget is not None and self.epochs is not None:
            raise ValueError("a budget and epochs exclude each other. Keep one of them.")
        steps = None if self.budget is None else self.budget.steps
        for text in self.trainers:
            try:
                check_length(text, split_spec(text)[1], self.epochs, steps)
            except UsageError as problem:
                raise ValueError(str(problem)) from None
        return self


class Racing(_Part):
    """The rules of a race, see `autoseg.racing.race.Rules`."""

    rungs: Annotated[tuple[Annotated[float, Field(gt=0, le=LATEST_RUNG)], ...], Field(min_length=1)] = (
        Rules.rungs
    )
    freed: Literal["share", "save"] = Rules.freed
    margin: Annotated[float, Field(ge=0, lt=1)] = Rules.margin
    alpha: Annotated[float, Field(gt=0, lt=1)] = Rules.alpha
    steep: Annotated[float, Field(ge=0, le=1)] = Rules.steep
    blind: bool = Rules.blind
    ties: Literal["keep", "stop"] = Rules.ties
    cap: Annotated[float, Field(gt=0, le=1)] | None = Rules.cap
    spend: bool = Rules.spend
    look_cases: Annotated[int, Field(ge=FEWEST_CASES)] | None = Rules.look_cases
    reference: str | None = Rules.reference

    @model_validator(mode="after")
    def _sensible(self) -> Racing:
        try:
            Rules(**self.model_dump())
        except UsageError as problem:
            raise ValueError(str(problem)) from None
        return self

    @property
    def rules(self) -> Rules:
        """The same as the race takes them."""
        return Rules(**self.model_dump())


class Suite(Axes):
    """A benchmark: axes that are crossed, what is added and left out, and on what it runs.

    Attributes:
        name: name of the benchmark's folder.
        about: a sentence.
        include: further matrices; a key that one leaves out is the suite's.
        exclude: patterns of cells that are left out, of the includes too.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        memory: the planner's target, 10^9 bytes of device memory.
        accept: findings of the verification that are intended: ``direction``.
        resources: what one job requests of a scheduler.
        foreign: results made elsewhere that join the leaderboard.
        race: whether trainers that are clearly behind are stopped on the way, or by which rules.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*$")]
    about: str = ""
    include: tuple[Axes, ...] = ()
    exclude: tuple[Pattern, ...] = ()
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    memory: Gigabytes | None = None
    accept: Annotated[tuple[Literal["direction"], ...], BeforeValidator(_listed)] = ()
    resources: ResourcesOfStages = ResourcesOfStages()
    foreign: ForeignEntries = ()
    race: bool | Racing = False

    @property
    def run_resources(self) -> Resources:
        """What a run asks a scheduler for; on the CPU no GPU, unless the file names one."""
        run = self.resources.run
        if self.device == "cpu" and "run" not in self.resources.model_fields_set:
            return run.model_copy(update={"gpus": 0})
        return run

    @property
    def racing(self) -> Racing:
        """The rules of its races."""
        return self.race if isinstance(self.race, Racing) else Racing()
