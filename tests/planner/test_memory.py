"""Memory: counted exactly, put together, and what fits into it."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autoseg import plugins
from autoseg.architectures import Topology, build_network, prepare_for_cpu
from autoseg.errors import PlanError
from autoseg.planner.topology import divisors, pooled
from autoseg.system.process_memory import SMALLER, USUAL
from autoseg.tailoring.memory.footprint import (
    GB,
    LOADER_BASE,
    Footprint,
    Loading,
    MemoryCalibration,
    footprint,
)
from autoseg.tailoring.memory.largest_patch import Constraints, _candidates, largest_patch_batch, usable
from autoseg.tailoring.memory.trace import Traced, _Counter, _step, trace_network
from autoseg.tailoring.memory.trainer_memory import TrainingMemory
from autoseg.tailoring.step_time import step_seconds

CPU = torch.device("cpu")
CALIBRATION = MemoryCalibration("test", 1.0 * GB, 1.5, True)


class TwoConvolutions(nn.Module):
    """A network whose memory can be told by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 1, bias=False)
        self.second = nn.Conv2d(8, 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(x))
        return out


def test_kept_activations_by_hand() -> None:
    traced = trace_network(TwoConvolutions, (3, 1, 16, 16), 2, torch.device("cuda"), None)
    assert traced.parameters == traced.gradients == 4 * (8 + 16)
    # The hidden map and the logits; the input was there before.
    assert traced.kept == 4 * 3 * 16 * 16 * (8 + 2)
    assert traced.step_bytes > traced.kept
    # Nothing here is as large as 32 MiB; the hidden map is the largest that there is.
    assert traced.heap_bytes == traced.step_bytes - 4 * 3 * 16 * 16
    assert traced.largest_bytes == 4 * 3 * 16 * 16 * 8
    assert traced.peak(2) == traced.parameters + 2 * traced.gradients + traced.step_bytes


def topology(edge: int, dimensions: int) -> Topology:
    return pooled((1.0,) * dimensions, (edge,) * dimensions, 4)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize(
    ("architecture", "dimensions", "options"),
    [
        ("nnunet", 3, {"width": 8}),
        ("brainunet", 3, {"width": 8}),
        ("mednext", 3, {"width": 8}),
        ("mednext", 3, {"width": 8, "variant": "M"}),
        ("resnet34_mlp", 2, {}),
        ("deepmrseg", 2, {}),
        ("unetplusplus", 2, {}),
    ],
)
def test_what_is_counted_on_fakes_is_what_a_real_step_allocates(
    architecture: str, dimensions: int, options: dict[str, object], dtype: torch.dtype | None
) -> None:
    shape = (2, 1, *topology(32, dimensions).patch_size)

    def build() -> nn.Module:
        return build_network(architecture, 1, 2, topology(32, dimensions), True, **options)

    fake = trace_network(build, shape, 2, CPU, dtype)
    network = build().train()
    prepare_for_cpu(network)
    layout = torch.channels_last if dimensions == 2 else torch.channels_last_3d
    network = network.to(memory_format=layout)
    data, counter = torch.zeros(shape).to(memory_format=layout), _Counter()
    there = [data, *network.parameters(), *network.buffers()]
    counter.ignore(iter(there))
    with counter:
        kept = _step(network, data, 2, dtype, counter)
    assert fake.kept == pytest.approx(kept, rel=0.005)
    assert fake.step_bytes == pytest.approx(counter.peak + data.nbytes, rel=0.005)


def test_memory_grows_with_the_batch_and_reduced_precision_halves_it() -> None:
    def traced(batch: int, dtype: torch.dtype | None) -> float:
        shape = (batch, 1, 64, 64, 64)
        return trace_network(
            lambda: build_network("nnunet", 1, 2, topology(64, 3), True), shape, 2, CPU, dtype
        ).step_bytes

    assert traced(4, None) == pytest.approx(2 * traced(2, None), rel=0.1)
    # Without such instructions torch convolves in another way, which takes memory of its own.
    has_instructions = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert traced(2, torch.bfloat16) == pytest.approx(
        traced(2, None) / 2, rel=0.1 if has_instructions else 0.25
    )


def test_checkpointing_keeps_less() -> None:
    def kept(how: str) -> float:
        build = lambda: build_network(  # noqa: E731
            "mednext", 1, 2, topology(32, 3), False, variant="M", checkpointing=how
        )
        return trace_network(build, (1, 1, 32, 32, 32), 2, CPU, None).kept

    assert kept("on") < kept("off") / 4


def test_what_computes_again_takes_large_blocks_from_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr("autoseg.tailoring.step_time.take_from_system", taken.append)

    def traced(how: str) -> Traced:
        build = lambda: build_network(  # noqa: E731
            "mednext", 1, 2, topology(32, 3), False, variant="S", checkpointing=how
        )
        return trace_network(build, (2, 1, 32, 32, 32), 2, CPU, None)

    usual, smaller = traced("off"), traced("on")
    assert taken == [], "counting trains nothing"
    for how in ("off", "on"):
        network = build_network("mednext", 1, 2, topology(16, 3), False, width=4, checkpointing=how)
        step_seconds(network.train(), (1, 1, 16, 16, 16), CPU, None)
    assert taken == [USUAL, SMALLER]
    # Feature maps of 32^3 lie between the two sizes.
    assert usual.heap_bytes > 0.5 * usual.step_bytes
    assert smaller.heap_bytes < 0.2 * smaller.step_bytes


def test_the_c_library_takes_blocks_as_told() -> None:
    code = """if True:
        import sys
        import numpy as np
        from autoseg.system.process_memory import take_from_system
        told = take_from_system(int(sys.argv[1]))
        blocks = [np.ones(8 * 2**20, np.uint8) for _ in range(20)]
        blocks = blocks[::2]  # each second one is a gap
        resident = int(open('/proc/self/statm').read().split()[1])
        print(int(told), resident * 4096)
    """
    (told, large), (_, small) = (
        map(
            int,
            subprocess.run(
                [sys.executable, "-c", code, str(size)], capture_output=True, text=True, check=True
            ).stdout.split(),
        )
        for size in (USUAL, SMALLER)
    )
    if not told:
        pytest.skip("not glibc, which decides for itself")
    # Ten gaps; those at the heap's ends may go back to the system in either case.
    assert small < large - 7 * 8 * 2**20


@dataclass(frozen=True)
class Step:
    parameters: int = 100
    gradients: int = 100
    step_bytes: int = 1000
    heap_bytes: int = 300
    largest_bytes: int = 200


def test_a_footprint_is_the_sum_of_its_parts() -> None:
    loading = Loading([1000.0] * 10, 2, 3, (10, 10), 1e9)
    whole = footprint(Step(), 2, CALIBRATION, loading, batch_size=3)
    samples = 10 * 100 * 3 * 32
    assert whole.cases == 10 * 1000 * (2 * 4 + 2) * 1.6 + samples
    assert whole.loader == LOADER_BASE + 3 * (200 + 100) * 10 + (2 + 3) * 4 * 100
    assert (whole.weights, whole.optimiser, whole.step) == (200, 200, 1000 + 100 + 120)
    assert whole.total == sum((whole.base, whole.cases, whole.loader, 200, 200, 1220))
    bare = footprint(Step(step_bytes=10), 1, CALIBRATION)
    assert (bare.weights, bare.step) == (100, 137.5)  # the gradients at least
    assert Loading([1e9], 1, 1, (10, 10), 2e9).held == 10_000 * 32


def by_voxels(topology: Topology, batch: int) -> Footprint:
    """A network that takes 1000 bytes for each voxel of a batch."""
    step = 1000.0 * math.prod(topology.patch_size) * batch
    return Footprint(1.0 * GB, 0.0, 0.0, 0.1 * GB, 0.1 * GB, step)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(8, 400), min_size=2, max_size=3),
    st.floats(0.3, 6.0),
    st.floats(1.4, 60.0),
    st.integers(2, 8),
    st.sampled_from([1, 16, 32]),
)
def test_what_is_chosen_fits_and_meets_the_constraints(
    shape: list[int], depth: float, memory_gb: float, smallest: int, multiple: int
) -> None:
    spacing = (depth, *(1.0,) * (len(shape) - 1))
    limits = Constraints(smallest_batch=smallest, largest_batch=40, multiple=multiple)
    try:
        fit = largest_patch_batch(by_voxels, spacing, shape, memory_gb, limits)
    except PlanError:
        floor = limits.floor(spacing, shape)
        assert smallest * 1000 * math.prod(floor) + 1.2 * GB > memory_gb * GB / 64
        return
    assert fit.footprint.total <= usable(memory_gb) < memory_gb * GB
    assert by_voxels(fit.topology, fit.batch_size) == fit.footprint
    assert smallest <= fit.batch_size <= 40
    assert all(
        n >= least for n, least in zip(fit.topology.patch_size, limits.floor(spacing, shape), strict=True)
    )
    for n, divisor in zip(fit.topology.patch_size, divisors(fit.topology), strict=True):
        assert n % divisor == 0 and n % multiple == 0
    if fit.batch_size < 40:
        assert by_voxels(fit.topology, fit.batch_size + 1).total > usable(memory_gb)


def test_more_memory_is_never_a_smaller_patch() -> None:
    fits = [
        largest_patch_batch(by_voxels, (1.0, 1.0, 1.0), (200, 200, 200), gb) for gb in (1.5, 2.0, 4.0, 16.0)
    ]
    voxels = [math.prod(fit.topology.patch_size) for fit in fits]
    assert voxels == sorted(voxels) and voxels[0] < voxels[-1]
    assert fits[0].decision.inputs["alternatives"][0]["costs"]["gb"] * GB >= usable(1.5) - 0.01 * GB


def test_few_patches_are_counted_exactly() -> None:
    asked = []

    def counting(topology: Topology, batch: int) -> Footprint:
        asked.append(topology.patch_size)
        return by_voxels(topology, batch)

    largest_patch_batch(counting, (1.0, 1.0, 1.0), (512, 512, 512), 2.0)
    assert len(asked) <= 6


def with_stages(topology: Topology, batch: int) -> Footprint:
    """A network whose weights, fourfold with each stage, outweigh what its patch takes."""
    step = 1000.0 * math.prod(topology.patch_size) * batch
    weights = 1e5 * 4.0**topology.stages
    return Footprint(1.0 * GB, 0.0, 0.0, weights, weights, step + weights)


@pytest.mark.parametrize("memory_gb", [1.3, 1.5, 2.0, 2.5, 4.0, 6.0, 30.0])
def test_the_largest_patch_is_found_where_each_stage_is_a_jump(memory_gb: float) -> None:
    shape, limits = (540, 800), Constraints()
    every = [with_stages(each, 2) for each in _candidates((1.0, 1.0), shape, 4, limits)]
    asked = []

    def counting(topology: Topology, batch: int) -> Footprint:
        asked.append(topology.patch_size)
        return with_stages(topology, batch)

    fit = largest_patch_batch(counting, (1.0, 1.0), shape, memory_gb, limits)
    largest = next(each for each in every if each.total <= usable(memory_gb))
    assert with_stages(fit.topology, 2) == largest
    assert len(asked) <= 12 < len(every)


def test_too_little_memory_says_how_much_it_takes() -> None:
    with pytest.raises(PlanError, match=r"takes 1\.3 GB, and there are 1 GB"):
        largest_patch_batch(by_voxels, (1.0, 1.0, 1.0), (64, 64, 64), 1.0)


def trainers() -> list[str]:
    return list(plugins.available("trainers"))


@pytest.mark.slow
@pytest.mark.parametrize("name", trainers())
def test_every_trainer_s_memory_can_be_counted(name: str) -> None:

    trainer = plugins.trainer_class(name)
    for dimensions in trainer.dimensions:
        memory = TrainingMemory(trainer, 2, 3, [1e5], CPU, CALIBRATION)
        found = memory(topology(64 if dimensions == 2 else 32, dimensions), 2)
        assert 1.0 < found.total / GB < 8


def test_cases_are_counted_on_the_grid_that_they_are_resampled_to() -> None:
    from cases import fingerprint as cases_like
    from cases import planned

    from autoseg.tailoring.memory.trainer_memory import case_voxels

    found = cases_like((40, 100, 80), (2.0, 1.0, 1.0), cases=50)
    plan = planned(found)
    for name in ("3d_fullres", "2d"):
        assert case_voxels(found, plan, plan.configuration(name)) == pytest.approx([40 * 100 * 80] * 50)


def test_a_calibration_is_measured_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autoseg.tailoring.memory import calibration as memory_calibration

    runs = []

    def peak(device: str, edge: int) -> float:
        runs.append(edge)
        return 1e9 + 1000.0 * edge**3

    monkeypatch.setattr(memory_calibration, "_peak_of_process", peak)
    path = tmp_path_factory.mktemp("calibration") / "memory.json"
    first = memory_calibration.calibrate(path)
    assert first.measured and runs == [16]
    assert 0.9e9 < first.base < 1e9 and first.overhead == 1.0
    assert memory_calibration.calibrate(path) == first and len(runs) == 1
    # Another processor with the same home has kernels of its own, and so its own measurement.
    monkeypatch.setattr(memory_calibration, "model_name", lambda device: "another processor")
    assert memory_calibration.calibrate(path) != first and len(runs) == 2


def test_without_a_measurement_there_is_a_guess(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autoseg.tailoring.memory import calibration as memory_calibration

    monkeypatch.setattr(memory_calibration.sys, "executable", "/bin/false")
    path = tmp_path_factory.mktemp("calibration") / "memory.json"
    assert not memory_calibration.calibrate(path).measured
    assert not path.exists()


@pytest.mark.parametrize(
    "module",
    [
        "planner.dimension",
        "planner.suitability",
        "planner.explain.explain",
        "planner.explain.picture",
        "planner.networks",
        "tailoring.memory.largest_patch",
        "tailoring.memory.footprint",
    ],
)
def test_planning_needs_no_torch(module: str, modules_after: Callable[[str], set[str]]) -> None:
    assert not modules_after(f"import autoseg.{module}") & {"torch", "nnunetv2", "skimage"}


@pytest.fixture
def modules_after() -> Callable[[str], set[str]]:
    """Give the top-level modules that a fresh interpreter has loaded after some code."""

    def after(code: str) -> set[str]:
        script = f"{code}\nimport sys; print(' '.join({{n.split('.')[0] for n in sys.modules}}))"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    return after
