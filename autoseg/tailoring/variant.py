"""A trainer spec on a data set with what it has to keep to: what a plan is fitted to, for all folds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from autoseg import plugins
from autoseg.data.dataset import Dataset
from autoseg.data.fingerprint import Fingerprint
from autoseg.errors import PlanError
from autoseg.planner.cascade import CASCADE
from autoseg.planner.data_facts import DataFacts
from autoseg.planner.dimension import DimensionChoice, choose_dimension
from autoseg.planner.networks import Hardware
from autoseg.planner.plan import Configuration, Decision, Plan
from autoseg.tailoring.base_plan import base_plan
from autoseg.tailoring.choose_configuration import choose_configuration
from autoseg.tailoring.machine.kept import machine_model
from autoseg.tailoring.options import check_taken_up, network_options
from autoseg.tailoring.request import Request, plan_name
from autoseg.tailoring.trainer_spec import Choice, Start

if TYPE_CHECKING:
    from autoseg.training.trainer import Trainer


@dataclass(frozen=True)
class Variant:
    """A trainer spec on a data set. What follows from it is found out once, when it is first needed.

    Attributes:
        dataset: what is trained on.
        fingerprint: the fingerprint of the same data set.
        choice: the trainer spec.
        request: device, memory, time and seed.
    """

    dataset: Dataset
    fingerprint: Fingerprint
    choice: Choice
    request: Request

    def with_request(self, request: Request) -> Variant:
        """The same trainer on the same data, with something else to keep to."""
        return dataclasses.replace(self, request=request)

    @cached_property
    def plan_name(self) -> str:
        """The name of the plan that is made for it."""
        stages = self.request.first_stages if self.is_cascade else 0.0
        request = dataclasses.replace(self.request, first_stages=stages)
        return plan_name(self.choice, request, self.fingerprint)

    @cached_property
    def is_cascade(self) -> bool:
        """Whether two trainings are made of it, one after the other."""
        if not self.request.first_stages:
            return False
        try:
            return self.configuration[0].name == CASCADE
        except PlanError:
            return False  # whoever plans it says so

    @cached_property
    def trainer(self) -> type[Trainer]:
        """The trainer's class.

        Raises:
            UsageError: if there is no such trainer.
        """
        found: type[Trainer] = plugins.trainer_class(self.choice.name)
        return found

    @cached_property
    def start(self) -> Start:
        """What the training starts from.

        Raises:
            PlanError: if there is no plan where the spec says.
            RunError: if there are no weights where the spec says.
        """
        return Start.of(self.choice)

    @cached_property
    def network_options(self) -> Mapping[str, Any]:
        """Those of the options that are the network's."""
        return network_options(self.choice.options)

    @cached_property
    def base(self) -> Plan:
        """nnU-Net's plan with all configurations, or the plan of another model."""
        return base_plan(self)

    @cached_property
    def configuration(self) -> tuple[Configuration, tuple[Decision, ...]]:
        """The configuration of the base plan that is trained, and why this one.

        Raises:
            PlanError: if the data have none that the trainer can train.
            UsageError: for options that another model's plan has decided already.
        """
        requested = self.request.configuration
        if self.start.plan_from is not None:
            check_taken_up(self.choice, self.network_options)
            requested = self.start.plan_from.configuration.name if requested == "auto" else requested
        dimension = dimension_of(self.base, self.fingerprint, self.request)
        possible = self.request.first_stages > 0
        name, why = choose_configuration(self.base, self.trainer, requested, dimension, possible)
        return self.base.configurations[name], why


def dimension_of(base: Plan, fingerprint: Fingerprint, request: Request) -> DimensionChoice:
    """2D or 3D for a data set, a device and the time there is."""
    # Of the machine, not of the moment: what else runs on it now does not decide what is trained.
    # Without a budget time decides nothing, and nothing is measured.
    timed = request.run_s is not None
    hardware = Hardware.of(machine_model(request.device), request.memory_gb) if timed else None
    trainings = 1 + (request.first_stages or 1.0)
    found = choose_dimension(base, DataFacts.of(base, fingerprint), hardware, request.run_s, trainings)
    return found if request.dimension is None else dataclasses.replace(found, decision=request.dimension)
