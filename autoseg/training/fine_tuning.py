"""What a plan's settings ask of a trainer beyond its own: first weights, freezing, few cases.

They are the fields `init`, `finetune` and `cases` of a `TrainingSpec`; where these are None, a trainer is
what it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from autoseg.data.few_cases import subset
from autoseg.planner.training_spec import FewCases, TrainingSpec
from autoseg.training.checkpoint_files import candidates
from autoseg.transfer.initialisation import Initialisation, LoadReport, initialise
from autoseg.transfer.policy import FineTunePolicy, set_learning_rates


class FineTuning:
    """Hooks that the trainers' base calls.

    Attributes:
        pretrained_rate: factor of the learning rate where the weights are a trained model's and nobody has
            chosen a rate. An encoder's, or those learnt without labels, leave parts random and keep the
            trainer's rate: at a tenth of it, short trainings ended three points of Dice behind.
        policy: what is frozen; None: nothing.
        load_report: what became of the weights; None before they are loaded, or after a restart.
    """

    pretrained_rate: ClassVar[float] = 0.1
    policy: FineTunePolicy | None = None
    load_report: LoadReport | None = None
    _start: Initialisation = Initialisation()
    _few: FewCases | None = None
    _open: tuple[str, ...] | None = None
    _kept_norms: tuple[nn.Module, ...] = ()

    def read_finetuning(self, spec: TrainingSpec) -> None:
        """Take what a plan says; once the hyper-parameters are set, before they are used."""
        if spec.finetune:
            self.policy = FineTunePolicy.parse(spec.finetune)
        if spec.init:
            self._start = Initialisation(**spec.init)  # type: ignore[arg-type]  # checked there
        self._few = spec.cases
        if spec.init_is_trained_model and spec.hyperparameters.learning_rate is None:
            self.learning_rate *= self.pretrained_rate

    def optimised(self, learning_rate: float) -> list[Any]:
        """Load the first weights, freeze, and give what goes into the optimiser.

        nnU-Net asks for its optimiser once the network is built and before it is wrapped for distributed
        training, which is when both have to happen.
        """
        if not candidates(
            Path(self.output_folder)
        ):  # a restart has its weights, and the file may be gone by then
            self.load_report = initialise(self.network, self._start)
        if self.policy is None:
            return [p for p in self.network.parameters() if p.requires_grad]
        names = [name for name, _ in self._bare_network().named_parameters()]
        self.policy.apply(self.network, names if self.load_report is None else self.load_report.names)
        return self.policy.groups(self.network, learning_rate)

    def spread_learning_rate(self, rate: float, progress: float) -> None:
        """Set the rates of all parts, and open those that are open by now.

        It is called after every `network.train()` and before the steps that follow, so frozen
        normalisations are put back here.
        """
        set_learning_rates(self.optimizer, rate, progress)
        if self.policy is None:
            return
        opens = [(group["name"], group["opens"]) for group in self.optimizer.param_groups]
        now = tuple(name for name, time in opens if progress >= time)
        if now != self._open:
            self.policy.follow(self.network, progress)
            self._kept_norms = tuple(self.policy.frozen_norms(self.network, progress))
            self._open = now
        for norm in self._kept_norms:
            norm.eval()

    def do_split(self) -> tuple[Any, Any]:
        """The fold's cases; of the training cases only some, where few are requested."""
        training, validation = super().do_split()  # type: ignore[misc]
        if self._few is None:
            return training, validation
        few = list(subset(training, self._groups(), self._few.size, self._few.seed))
        self.print_to_log_file(f"{len(few)} of {len(training)} training cases: {', '.join(few)}")
        return few, validation

    # What the trainer brings.
    learning_rate: float
    network: Any
    optimizer: Any
    output_folder: str
    _bare_network: Callable[[], nn.Module]
    _groups: Callable[[], Mapping[str, str]]
    print_to_log_file: Callable[..., None]
