"""The program that computes a network on the processor: torch, or OpenVINO where a measurement prefers it.

Results are the same to rounding. OpenVINO takes a second or two to convert a network, so it is tried only
where there is much to predict; which is faster is measured once for a network and a machine, and kept.
(onnxruntime was measured as well: for nnU-Net's U-Net it is no faster than torch as it is used here;
benchmarks/bench_predict_whole.py measures it.)
"""

from __future__ import annotations

import contextlib
import copy
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from autoseg.architectures import plain_layers
from autoseg.errors import MissingDependency, UsageError
from autoseg.inference.kept_engines import Kept
from autoseg.inference.window_passes import Network

log = logging.getLogger(__name__)

ENGINES = ("auto", "torch", "openvino")
# Fewer passes than this take less time than the trial.
FEWEST_PASSES = 24
# Seconds that a conversion takes, beside a pass; the trial may cost a tenth of what there is to do.
_CONVERSION, _WORTH = 1.5, 10
# Of torch's time, what the other may take to be worth its conversion.
_FASTER = 0.9
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
    if name == "openvino" and find_spec("openvino") is None:
        raise MissingDependency("openvino", "openvino", "Predicting with OpenVINO")


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
    if engine == "torch" or (engine == "auto" and (passes < FEWEST_PASSES or find_spec("openvino") is None)):
        return networks
    known = kept.read() if kept is not None and engine == "auto" else None
    if known == "torch":
        return networks
    example = torch.randn(1, channels, *patch_size, generator=torch.Generator().manual_seed(0))
    reduced = dtype == torch.bfloat16
    with torch.no_grad(), torch.autocast("cpu", dtype=dtype, enabled=reduced):
        expected, ours = _timed(networks[0], example, 0 if known else 2)
    if engine == "auto" and not known and passes * ours < _WORTH * (_CONVERSION + 6 * ours):
        return networks
    try:
        first = OpenVino(networks[0], example, reduced)
        found, theirs = _timed(first, example, 0 if known else 2)
        if not _same(found, expected, reduced):
            log.warning("OpenVINO gives other logits than torch for this network, which torch predicts.")
            return networks
        if not known:
            faster = theirs <= _FASTER * ours
            if kept is not None:
                kept.write("openvino" if faster else "torch", {"torch": ours, "openvino": theirs})
            if engine == "auto" and not faster:
                return networks
            log.info("OpenVINO predicts: %.3f s for a patch, torch %.3f s.", theirs, ours)
        return [first, *(OpenVino(each, example, reduced) for each in networks[1:])]
    except Exception as problem:  # of another library, which converts what it knows; torch computes all
        log.info("OpenVINO cannot take this network, which torch predicts: %s", str(problem)[:200])
        return networks


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


class _First(nn.Module):
    """Of a network with several outputs, the first."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        output = self.network(image)
        first: Tensor = output[0] if isinstance(output, (list, tuple)) else output
        return first


def _timed(
    network: Callable[[Tensor], Tensor | Sequence[Tensor]], example: Tensor, passes: int = 2
) -> tuple[Tensor, float]:
    """Logits, and the seconds of the fastest of some passes after a first one; 0 where none is timed."""
    output, seconds = network(example), []
    for _ in range(passes):
        began = time.perf_counter()
        network(example)
        seconds.append(time.perf_counter() - began)
    return (output if isinstance(output, Tensor) else output[0]).float(), min(seconds, default=0.0)


def _same(found: Tensor, expected: Tensor, reduced: bool) -> bool:
    spread = float(expected.std()) or 1.0
    return float((found - expected).abs().max()) <= _TOLERANCE[reduced] * spread


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the tracer's remarks about shapes that are constant here."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
