"""The exponential moving average of the weights along a training, which predicts in place of the last ones.

Averages of weights lie nearer to the middle of a flat minimum than the steps that go round it (Polyak and
Juditsky, SIAM J. Control Optim. 30:838, 1992; Izmailov et al. 2018, arXiv 1803.05407). The decay warms up as
(1 + n) / (10 + n) after n steps (TensorFlow's ExponentialMovingAverage), so that random first weights are
soon forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from autoseg.errors import UsageError
from autoseg.training.step_count import are_finite


class MovingAverage:
    """The average of a network's weights and running statistics.

    Args:
        network: whose tensors are averaged; whole numbers, such as counts of batches, are taken as they are.
        decay: what an average that is warm keeps of itself with each step, 0 to below 1.

    Attributes:
        count: steps that were taken in.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.count = decay, 0
        self._live = {name: value.detach() for name, value in network.state_dict().items()}
        self._kept = {name: value.clone() for name, value in self._live.items()}
        self._averaged = [name for name, value in self._live.items() if value.is_floating_point()]

    @property
    def share(self) -> float:
        """What the next step has in the average."""
        return 1 - min(self.decay, (1 + self.count) / (10 + self.count))

    def add(self) -> None:
        """Take in the weights after a step."""
        with torch.no_grad():
            kept, live = ([each[name] for name in self._averaged] for each in (self._kept, self._live))
            torch._foreach_lerp_(kept, live, self.share)
        self.count += 1

    def weights(self) -> dict[str, Tensor]:
        """The average, by name as in the network's own state."""
        others = {name: value for name, value in self._live.items() if name not in self._averaged}
        return {**self._kept, **others}

    def state(self) -> dict[str, Any]:
        """What a restart needs, in main memory."""
        kept = {name: self._kept[name].to("cpu", copy=True) for name in self._averaged}
        return {"count": self.count, "weights": kept}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self.count = int(state["count"])
        for name, value in state["weights"].items():
            self._kept[name].copy_(value)


class AveragedTraining:
    """What `ema_decay` adds to a trainer: an average of the weights, which the final checkpoint holds.

    A training that goes on has the average from its checkpoint, so that it ends with the weights that it
    would have had. Where steps went wrong and the training was tried again, the average begins again as well;
    where it is not finite, the last good weights predict.
    """

    ema_decay: float
    average: MovingAverage | None = None
    _resumed_average: Mapping[str, Any] | None = None

    def on_train_start(self) -> None:
        """Begin the average, or go on with it.

        Raises:
            UsageError: if the validation loss is to choose the weights as well.
        """
        super().on_train_start()  # type: ignore[misc]
        if not self.ema_decay or self.stock:
            return
        if self.chooses_by_validation:
            raise UsageError(
                f"ema_decay is {self.ema_decay:g}, and the validation loss chooses the weights too (schedule "
                f"plateau, or best_checkpoints). Leave one of them out."
            )
        self._begin_average()
        if self._resumed_average is not None and self.average is not None:
            self.average.load(self._resumed_average)
            self._resumed_average = None

    def _begin_average(self) -> None:
        self.average = MovingAverage(self._bare_network(), self.ema_decay)

    def train_step(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """One optimiser step, whose weights the average takes in; one that was left out changes nothing."""
        result: dict[str, Any] = super().train_step(batch)  # type: ignore[misc]
        if self.average is not None and bool(result.get("taken", True)):
            self.average.add()
        return result

    def retry(self, why: str) -> bool:
        """Go back to good weights, once; the average begins there."""
        retried = bool(super().retry(why))  # type: ignore[misc]
        if retried and self.average is not None:
            self._begin_average()
        return retried

    def restore_best_weights(self) -> None:
        """Put the average in the network, for the final checkpoint or to be judged."""
        super().restore_best_weights()  # type: ignore[misc]
        if self.average is None or self.broken_off:
            return
        weights = self.average.weights()
        if are_finite(weights.values()):
            self._bare_network().load_state_dict(weights)
            self.average = None  # nothing is trained after this

    def average_state(self) -> dict[str, Any]:
        """What a restart needs."""
        return {} if self.average is None else {"average": self.average.state()}

    def load_average(self, state: Mapping[str, Any]) -> None:
        """Go on from the entry ``average`` of `state`, once the training starts."""
        self._resumed_average = state.get("average")

    # What the trainer brings.
    broken_off: str
    chooses_by_validation: bool
    stock: bool
    _bare_network: Callable[[], nn.Module]
