"""What all trainers share: nnU-Net's trainer, driven by class attributes and, on request, by the clock.

A trainer file holds one class, named as the file is, whose attributes are its hyper-parameters. Everything
that a run needs beyond them (options, budget, seed) stands in the plan, so that stock ``nnUNetv2_train`` and
``nnUNetv2_predict`` see the very same run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn

from autoseg.architectures import channels_last, prepare_for_cpu, system_blocks
from autoseg.augmentation import nnunet_transforms
from autoseg.data.folds import watching_cases
from autoseg.losses.losses import SegmentationLoss
from autoseg.nnunet import read_checkpoint
from autoseg.planner.hyperparameters import KINDS
from autoseg.planner.training_spec import TrainingSpec
from autoseg.system.device import autocast_dtype, seed_everything
from autoseg.system.files import read_json
from autoseg.system.process_memory import take_from_system
from autoseg.training.averaged_weights import AveragedTraining
from autoseg.training.best_checkpoints import BestCheckpoints
from autoseg.training.budgeted_loop import BudgetedLoop
from autoseg.training.course import Course
from autoseg.training.deep_supervision import weigh_one_output
from autoseg.training.device_augmentation import DeviceAugmentation
from autoseg.training.energy import EnergyMeter
from autoseg.training.epochs_loop import EpochsLoop
from autoseg.training.fine_tuning import FineTuning
from autoseg.training.finite_steps import FiniteTraining
from autoseg.training.gradient_step import step_scaled, take_step
from autoseg.training.loaders import HeldDataset, loaders
from autoseg.training.named_network import named_network
from autoseg.training.optimizer import make_optimizer
from autoseg.training.progress_rows import SeenTraining
from autoseg.training.resume import resume
from autoseg.training.retry import RetriedTraining
from autoseg.training.saving import Saving
from autoseg.training.schedule import EpochSchedule, WatchedTraining, schedule_factor
from autoseg.training.step_count import StepCount
from autoseg.training.step_timing import StepTiming
from autoseg.training.stock_normalization import make_known
from autoseg.training.synced_norm import synchronise
from autoseg.training.team_training import TeamTraining
from autoseg.training.tracking import Tracking
from autoseg.training.trainer_contract import check_trainer
from autoseg.workspace import GROUPS_FILE

log = logging.getLogger(__name__)

# Attributes that a user may set with `NAME:attribute=value`; all others are options of the network.
HYPERPARAMETERS = tuple(KINDS)


class Trainer(
    TeamTraining,
    AveragedTraining,
    SeenTraining,
    Saving,
    FineTuning,
    BestCheckpoints,
    BudgetedLoop,
    WatchedTraining,
    FiniteTraining,
    RetriedTraining,
    DeviceAugmentation,
    EpochsLoop,
    nnUNetTrainer,  # type: ignore[misc]
):
    """Base of all trainers.

    Attributes:
        architecture: the name of the network's file, or None for the network that the plan names.
        planned_architecture: the name of the network that the plan names, where `architecture` is None.
        architecture_options: what this trainer asks of the network beyond its defaults.
        dimensions: the dimensions that it can train in.
        preferred_dimension: dimension of the documented system; None follows the data.
        documented: whether this is one of the five documented systems.
        adaptive_width: whether a budget may make the network narrower.
        normalization: scheme of the intensities, ``nnunet`` as planned or ``percentile``; users may choose.
        paper: where the system is described.
        smallest_batch: the smallest batch that its normalisation bears.
        kind: a name that trainers share whose networks differ in size alone; `auto` takes one of a kind.
        pace: how fast its multiply-accumulates go on a CPU, as a part of a plain U-Net's speed.
        pretrained_encoder: whether ``--init imagenet`` has weights for its encoder.
        auto: where ``--trainers auto`` may choose it, and with which rank, the lowest first: ``2d``, ``3d``,
            ``pictures`` (photographs and the like), ``slices_mr`` and ``slices_ct`` (slices of volumes whose
            dimension is in doubt). A trainer that is derived from another has to say it anew.
        learning_rate: at the start, after `warmup` (a part of the training, 0 to 1).
        entropy_warmup: part of the training over which a cross-entropy beside a Tversky loss fades out.
        schedule: how the learning rate falls: ``poly`` (power 0.9), ``cosine``, or ``plateau`` by the loss.
        plateau_factor: factor of the rate when the validation loss has not fallen for `plateau_patience`
            epochs.
        stopping_patience: epochs without a lower validation loss that end the training (``plateau`` only).
        min_learning_rate: below which a plateau does not take it.
        gradient_clip: largest norm of the gradient.
        foreground_oversampling: part of a batch that is certain to hold foreground.
        mirroring: whether training samples are mirrored, and predictions averaged over mirrored copies.
        stock: nnU-Net's own training, unmodified; only where `has_stock`.
        ema_decay: of the average of the weights, which predicts; 0: the last weights.
        best_checkpoints: how many checkpoints with the lowest validation loss predict together; 0: the last.
        orientations: axes that volumes are cut into slices along, one 2D training each; 1: the plan's.
    """

    architecture: ClassVar[str | None] = None
    planned_architecture: ClassVar[str] = "nnunet"
    architecture_options: ClassVar[Mapping[str, Any]] = {}
    dimensions: ClassVar[tuple[int, ...]] = (2, 3)
    preferred_dimension: ClassVar[int | None] = None
    documented: ClassVar[bool] = False
    adaptive_width: ClassVar[bool] = False
    normalization: ClassVar[Literal["nnunet", "percentile"]] = "nnunet"
    paper: ClassVar[str] = ""
    smallest_batch: ClassVar[int] = 2
    kind: ClassVar[str] = ""
    pace: ClassVar[float] = 1.0
    pretrained_encoder: ClassVar[bool] = False
    auto: ClassVar[Mapping[str, int]] = {}
    has_stock: ClassVar[bool] = False

    optimizer_name: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: float = 1e-2
    weight_decay: float = 3e-5
    momentum: float = 0.99
    epsilon: float = 1e-8
    schedule: Literal["poly", "cosine", "plateau"] = "poly"
    warmup: float = 0.0
    entropy_warmup: float = 0.0
    epochs: int = 1000
    steps_per_epoch: int = 250
    deep_supervision: bool = True
    gradient_clip: float = 12.0
    foreground_oversampling: float = 0.33
    mirroring: bool = True
    plateau_factor: float = 0.5
    plateau_patience: int = 5
    stopping_patience: int = 15
    min_learning_rate: float = 1e-6
    stock: bool = False
    ema_decay: float = 0.0
    best_checkpoints: int = 0
    orientations: int = 1

    my_init_kwargs: dict[str, Any]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        check_trainer(cls)

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008  (nnU-Net reads this very signature)
    ) -> None:
        # nnU-Net's launcher puts this key there; a plan read from disk has none.
        plans.setdefault("continue_training", False)
        self.join_team()
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.take_rank()
        self.spec = TrainingSpec.of_document(plans, configuration)
        for name, value in self.spec.hyperparameters.given.items():
            setattr(self, name, value)
        self.read_finetuning(self.spec)
        self.initial_lr = self.learning_rate
        self.num_epochs = self.epochs
        self.num_iterations_per_epoch = self.steps_per_epoch
        self.num_val_iterations_per_epoch = max(1, self.steps_per_epoch // 5)  # nnU-Net's 50 to its 250
        self.enable_deep_supervision = self.deep_supervision
        self.oversample_foreground_percent = self.foreground_oversampling
        self.seed = self.spec.seed
        self.train_s: float | None = self.spec.train_s
        self.elapsed_s = 0.0
        self.steps_done = 0
        self.epoch_outputs = []
        self.rows = []
        self.tracking = Tracking()
        self.meter = EnergyMeter()
        self.count = StepCount()
        self.course = Course(expects_fall=not self.spec.init_is_trained_model)
        self.autocast_dtype = autocast_dtype(self.device)
        self.plateau = self.make_plateau()
        # Averaging predictions over mirrored copies is also left out where a budget has no time for it.
        self.mirrored_prediction = self.mirroring
        self.timing = StepTiming(self.device.type == "cpu")

    def initialize(self) -> None:
        """Build network, optimiser and loss, from the run's seed."""
        seed_everything(self.seed)
        super().initialize()
        synchronise(self._bare_network(), self.team)
        if self.device.type == "cpu":
            # In place, and before the first step: the optimiser keeps the very same parameters.
            prepare_for_cpu(self._bare_network())
            take_from_system(system_blocks(self._bare_network()))
            self.network = self.network.to(memory_format=self._memory_format())

    def _memory_format(self) -> torch.memory_format:
        return channels_last(len(self.configuration_manager.patch_size))

    @classmethod
    def build_network_architecture(  # type: ignore[override]
        cls,
        plans_manager: Any,
        configuration_manager: Any,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """Build the network that the plan names, or this trainer's own on any other plan's topology."""
        make_known(configuration_manager)
        named = named_network(configuration_manager, cls.architecture, cls.architecture_options)
        network: nn.Module = get_network_from_plans(
            *named,
            num_input_channels,
            num_output_channels,
            allow_init=True,
            deep_supervision=enable_deep_supervision,
        )
        return network

    def _bare_network(self) -> nn.Module:
        network = self.network.module if self.is_ddp else self.network
        bare: nn.Module = getattr(network, "_orig_mod", network)
        return bare

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Switch the network between all outputs (training) and the full-size one (prediction)."""
        network = self._bare_network()
        if hasattr(network, "output_strides"):
            network.deep_supervision = enabled  # type: ignore[assignment]
        else:
            super().set_deep_supervision_enabled(enabled)

    def _get_deep_supervision_scales(self) -> list[list[float]] | None:
        if not self.enable_deep_supervision:
            return None
        strides = getattr(self._bare_network(), "output_strides", None)
        if strides is None:
            scales: list[list[float]] = super()._get_deep_supervision_scales()
            return scales
        return [[1.0 / step for step in stride] for stride in strides]

    # nnU-Net's augmentation, draw for draw, at a fraction of the processor's time.
    get_training_transforms = staticmethod(nnunet_transforms)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, ...]:
        """nnU-Net's ranges; without mirroring in training, none at prediction either."""
        rotation, dummy_2d, initial_patch, axes = (
            super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        )
        if not self.mirroring:
            axes = self.inference_allowed_mirroring_axes = None
        return rotation, dummy_2d, initial_patch, axes

    def make_loss(self) -> SegmentationLoss | None:
        """The loss of one output; None stands for nnU-Net's Dice + cross-entropy."""
        return None

    def _build_loss(self) -> nn.Module:
        loss = self.make_loss()
        if loss is None:
            with np.errstate(invalid="ignore"):  # 0/0, see there
                stock: nn.Module = super()._build_loss()
            if self.enable_deep_supervision:
                weigh_one_output(stock, self.stock)
            return stock
        if not self.enable_deep_supervision:
            return loss
        outputs = len(self._get_deep_supervision_scales() or [])
        weights = np.array(loss.output_weights(outputs))
        wrapped: nn.Module = DeepSupervisionWrapper(loss, weights)
        return wrapped

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, Any]:
        """The optimiser over all trainable parameters, and a scheduler over epochs."""
        optimizer = make_optimizer(
            self.optimizer_name,
            self.optimised(self.learning_rate),
            self.learning_rate,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            epsilon=self.epsilon,
        )
        return optimizer, EpochSchedule(self)

    def set_learning_rate(self, progress: float) -> float:
        """Set the learning rate for a training that is `progress` (0 to 1) of the way through."""
        start = self.learning_rate if self.plateau is None else self.plateau.rate
        rate = self.rate_factor * start * schedule_factor(self.schedule, progress, self.warmup)
        self.spread_learning_rate(rate, progress)
        return rate

    def optimiser_step(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """One optimiser step; on the CPU in bfloat16 where the processor has it.

        Returns:
            Its ``loss`` and, where that is known, whether it was ``taken``.
        """
        if self.device.type == "cuda":
            loss = self._loss_of(batch, torch.float16)
            step_scaled(
                self.grad_scaler,
                self.optimizer,
                loss,
                self.network.parameters(),
                self.gradient_clip,
                self.team,
            )
            # It stays on the device: reading it would make every step wait for the one before.
            return {"loss": loss.detach()}
        loss = self._loss_of(batch, self.autocast_dtype)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.team.sum_gradients(self.network.parameters())
        taken = take_step(self.optimizer, self.network.parameters(), self.gradient_clip)
        return {"loss": loss.detach().cpu().numpy(), "taken": taken}

    def _loss_of(self, batch: Mapping[str, Any], dtype: torch.dtype | None) -> torch.Tensor:
        layout = self._memory_format() if self.device.type == "cpu" else torch.preserve_format
        data = batch["data"].to(self.device, non_blocking=True, memory_format=layout)
        given = batch["target"] if isinstance(batch["target"], list) else [batch["target"]]
        targets = [target.to(self.device, non_blocking=True) for target in given]
        target = targets if isinstance(batch["target"], list) else targets[0]
        count, data = len(data), self.team.share(data)
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            output = self.network(data)
        # Sums over a whole patch lose digits in bfloat16: the loss is computed in float32.
        output = [o.float() for o in output] if isinstance(output, (list, tuple)) else output.float()
        return self.loss(self.team.whole(output, count), target)  # type: ignore[no-any-return]

    def get_tr_and_val_datasets(self) -> tuple[Any, Any]:
        """Both data sets, held in memory where they are small.

        A training that chooses by its validation loss is watched on some of its own training cases: the
        fold's held-out cases, which are reported, choose nothing.
        """
        training, validation = self.do_split()
        if self.chooses_by_validation:
            training, validation = watching_cases(training, self._groups())
            self.print_to_log_file(f"{len(validation)} training cases watch: {', '.join(validation)}")
        return tuple(
            HeldDataset(self.preprocessed_dataset_folder, keys, self.folder_with_segs_from_previous_stage)
            for keys in (training, validation)
        )  # type: ignore[return-value]

    def _groups(self) -> Mapping[str, str]:
        path = Path(self.preprocessed_dataset_folder_base) / GROUPS_FILE
        return read_json(path) if path.is_file() else {}

    def get_dataloaders(self) -> tuple[Any, Any]:
        """Loaders of augmented training and plain validation batches, seeded."""
        return loaders(self)

    def plot_network_architecture(self) -> None:
        """Nothing: nnU-Net's drawing library is unmaintained and slow to fail."""

    def _do_i_compile(self) -> bool:
        # Compiling takes a minute or more; a short budget has better uses for it.
        return bool(super()._do_i_compile()) and (self.train_s is None or self.train_s > 1200)

    def print_to_log_file(
        self, *args: Any, also_print_to_console: bool = True, add_timestamp: bool = True
    ) -> None:
        """Write to the run's log file; the console belongs to progress and results."""
        super().print_to_log_file(*args, also_print_to_console=False, add_timestamp=add_timestamp)
        log.debug(" ".join(map(str, args)))

    def on_train_end(self) -> None:
        """Write the final checkpoint, which also says whether to mirror at prediction."""
        self.restore_best_weights()
        if not self.mirrored_prediction:
            self.inference_allowed_mirroring_axes = None
        super().on_train_end()

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """Load a checkpoint and go on from the step and the time that it had come to.

        Raises:
            RunError: if the file is not a checkpoint.
        """
        given = filename_or_checkpoint
        checkpoint = read_checkpoint(Path(given)) if isinstance(given, str) else given
        if not self.was_initialized:
            self.initialize()
        resume(self, checkpoint)
