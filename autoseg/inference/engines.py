"""The program that computes a network on the processor: torch, or another where a measurement prefers it.

Results are the same to rounding. OpenVINO takes a second or two to convert a network, onnxruntime ten and
more, so another program is taken where it saves more than that over all windows and mirrored copies. What a
patch and a conversion take is measured once for a network and a machine, and kept; before that it is tried
where the usual saving would pay for the trial. Of the two only the first that is installed is tried: for
nnU-Net's U-Net in 3D onnxruntime was slower than both others, for a small one in 2D a little faster than
OpenVINO (benchmarks/results/predict_whole.md and fast.md), and a trial of it takes ten times as long.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autoseg.architectures import channels_last, plain_layers
from autoseg.bundle.segment import load_network
from autoseg.errors import MissingDependency, UsageError
from autoseg.inference.kept_engines import Kept, Measured
from autoseg.inference.onnx_network import write_network
from autoseg.inference.window_passes import Network

log = logging.getLogger(__name__)

# The other programs in the order in which they are tried: extra, packages, and usual seconds of a conversion.
OTHERS: dict[str, tuple[str, tuple[str, ...], float]] = {
    "openvino": ("openvino", ("openvino",), 1.5),
    "onnxruntime": ("onnx", ("onnxruntime", "onnx", "onnxscript"), 15.0),
}
ENGINES = ("auto", "torch", *OTHERS)
# Before a measurement: the part of torch's time that another program usually saves (OpenVINO a fifth to two
# fifths for U-Nets), and the passes of torch that tracing, timing and checking take.
_USUALLY_SAVED, _TRIAL_PASSES = 0.25, 8
# Fewer passes than this save less than the trial takes, whatever a pass takes.
FEWEST_PASSES = int(_TRIAL_PASSES / _USUALLY_SAVED)
# Largest difference of the logits, as a part of their spread, by whether the computation is in bfloat16.
_TOLERANCE = {False: 1e-3, True: 0.2}


def check_engine(name: str) -> None:
    """Refuse an engine that there is not.

    Raises:
        UsageError: for an unknown name.
        MissingDependency: if its package is not installed.
    """
    if name not in ENGINES:
        raise UsageError(f"There is no engine {name!r}. Choose one of {', '.join(ENGINES)}.")
    if name in OTHERS and (missing := _missing(name)):
        raise MissingDependency(missing[0], OTHERS[name][0], f"Predicting with {name}")


def _missing(name: str) -> list[str]:
    """The packages of a program that are not installed."""
    return [package for package in OTHERS[name][1] if find_spec(package) is None]


def choose(
    networks: Sequence[nn.Module],
    channels: int,
    patch_size: Sequence[int],
    passes: int,
    dtype: torch.dtype | None,
    engine: str = "auto",
    kept: Kept | None = None,
) -> Sequence[Network]:
    """The networks in the engine that is to be used, or that is faster.

    Args:
        networks: on the processor, in evaluation mode; they stay as they are.
        channels: of the input.
        patch_size: voxels.
        passes: patches that are to be predicted by one network.
        dtype: of the computation; None: float32.
        engine: ``auto`` measures.
        kept: what was measured before on this machine, and where a measurement goes; None: nowhere.
    """
    there = (name for name in OTHERS if not _missing(name))
    other = next(there, None) if engine == "auto" else engine
    if other is None or other == "torch":
        return networks
    kept = None if kept is None else replace(kept, other=other)
    measured = kept.read() if kept is not None and engine == "auto" else None
    if engine == "auto" and not (measured.is_worth(passes) if measured else passes >= FEWEST_PASSES):
        return networks
    trial = Trial(networks[0], channels, patch_size, dtype == torch.bfloat16, other)
    try:
        if engine == "auto" and measured is None:
            if not trial.is_worth(passes, len(networks)):
                return networks
            measured = trial.measure()
            if kept is not None:
                kept.write(measured)
            if not measured.is_worth(passes):
                return networks
            seconds = (measured.other, measured.torch)
            log.info("%s predicts: %.3f s for a patch, torch %.3f s.", other, *seconds)
        if not trial.gives_the_same():
            log.warning("%s gives other logits than torch for this network, which torch predicts.", other)
            return networks
        return [trial.converted, *map(trial.convert, networks[1:])]
    except Exception as problem:  # of another library, which converts what it knows; torch computes all
        log.info("%s cannot take this network, which torch predicts: %s", other, str(problem)[:200])
        return networks


class Trial:
    """One network in torch and in another program, on a random patch.

    Args:
        network: on the processor.
        channels: of the input.
        patch_size: voxels.
        reduced: whether to compute in bfloat16.
        other: the program's name.
    """

    def __init__(
        self, network: nn.Module, channels: int, patch_size: Sequence[int], reduced: bool, other: str
    ) -> None:
        self.network, self.reduced, self.other = network, reduced, other
        generator = torch.Generator().manual_seed(0)
        self.example = torch.randn(1, channels, *patch_size, generator=generator)
        self._conversion = 0.0

    @cached_property
    def torch_seconds(self) -> float:
        """Of a pass of torch."""
        return _seconds(lambda: self.logits)

    @property
    def logits(self) -> Tensor:
        """Those of torch."""
        image = self.example.contiguous(memory_format=channels_last(self.example.ndim - 2))
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.reduced):
            output = self.network(image)
        return (output if isinstance(output, Tensor) else output[0]).float()

    @cached_property
    def converted(self) -> Callable[[Tensor], Tensor]:
        """The network in the other program."""
        began = clock()
        found = self.convert(self.network)
        found(self.example)  # the first pass prepares memory
        self._conversion = clock() - began
        return found

    def convert(self, network: nn.Module) -> Callable[[Tensor], Tensor]:
        """Any network of the same shape in the other program."""
        program = OpenVino if self.other == "openvino" else OnnxRuntime
        return program(network, self.example, self.reduced)

    def is_worth(self, passes: int, networks: int) -> bool:
        """Whether what is usually saved pays for the trial and for the conversions.

        Args:
            passes: of each network.
            networks: that are to be converted.
        """
        conversion = OTHERS[self.other][2] + self.torch_seconds
        trial = _TRIAL_PASSES * self.torch_seconds
        return networks * passes * self.torch_seconds * _USUALLY_SAVED > networks * conversion + trial

    def measure(self) -> Measured:
        """Seconds of a patch in both, and of the conversion."""
        converted = self.converted
        other = _seconds(lambda: converted(self.example))
        return Measured(self.torch_seconds, other, self._conversion)

    def gives_the_same(self) -> bool:
        """Whether both give the same logits to rounding."""
        expected = self.logits
        spread = float(expected.std()) or 1.0
        difference = float((self.converted(self.example) - expected).detach().abs().max())
        return difference <= _TOLERANCE[self.reduced] * spread


class OpenVino:
    """A network in OpenVINO, as a function of a batch.

    Args:
        network: on the processor; a copy is converted.
        example: (1, channels, *patch).
        reduced: whether to compute in bfloat16.
    """

    def __init__(self, network: nn.Module, example: Tensor, reduced: bool) -> None:
        import openvino

        plain = plain_layers(copy.deepcopy(network)).to(memory_format=torch.contiguous_format)
        with torch.no_grad(), _quiet():
            trace: Any = torch.jit.trace
            traced = trace(_First(plain), example, check_trace=False)
            shape = [-1, *example.shape[1:]]
            model = openvino.convert_model(traced, example_input=example, input=[shape])
        options = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": "bf16" if reduced else "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()

    def __call__(self, batch: Tensor) -> Tensor:
        """Logits (batch, heads, *patch)."""
        found = self._request.infer({0: batch.contiguous().numpy()})[0]
        return torch.from_numpy(found).clone()  # the request writes into the same memory again


class OnnxRuntime:
    """A network in onnxruntime, as a function of a batch; written as ONNX first, in float32.

    Args:
        network: on the processor; a copy is converted.
        example: (1, channels, *patch).
        reduced: whether torch would compute in bfloat16, which onnxruntime has none of on a processor.
    """

    def __init__(self, network: nn.Module, example: Tensor, reduced: bool) -> None:
        plain = plain_layers(copy.deepcopy(network)).to(memory_format=torch.contiguous_format)
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "network.onnx"
            write_network(plain, example.shape[1], example.shape[2:], path)
            self._network = load_network(path.read_bytes(), path.name, torch.get_num_threads())

    def __call__(self, batch: Tensor) -> Tensor:
        """Logits (batch, heads, *patch)."""
        return torch.from_numpy(self._network(batch.contiguous().numpy()))


class _First(nn.Module):
    """Of a network with several outputs, the first."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        output = self.network(image)
        first: Tensor = output[0] if isinstance(output, (list, tuple)) else output
        return first


def clock() -> float:
    """Seconds: those of the processor where one thread computes, which other programs disturb less."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def _seconds(call: Callable[[], object]) -> float:
    """The faster of two calls after a first one."""
    seconds = []
    for _ in range(3):
        began = clock()
        call()
        seconds.append(clock() - began)
    return min(seconds[1:])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the tracer's remarks about shapes that are constant here."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
