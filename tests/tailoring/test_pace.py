"""How long steps take: modelled for any machine, corrected by what was measured."""

from __future__ import annotations

import pytest
import torch
from given_machines import NAMES, file_of
from torch import nn

from autoseg.architectures import build_network
from autoseg.architectures._contract import Numberless
from autoseg.planner.topology import reference_topology
from autoseg.system.machine_model import MachineModel
from autoseg.tailoring.pace import Pace
from autoseg.tailoring.step_model import modelled
from autoseg.tailoring.step_time import StepTime


def network(width: int, dimensions: int = 3) -> nn.Module:
    with torch.device("meta"), Numberless():
        return build_network("nnunet", 1, 2, reference_topology(dimensions), True, width=width)


def lines(width: int | None) -> tuple[StepTime, StepTime]:
    return StepTime(0.1 * (width or 1), 1e-6), StepTime(0.01, 1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_takes_longer_than_a_forward_pass_and_a_wide_one_longer_than_a_narrow_one(name: str) -> None:
    machine = MachineModel.load(file_of(name))
    shape, voxels = (2, 1, 64, 64, 64), 2 * 64**3
    (wide, forward), (narrow, _) = (modelled(network(width), shape, machine) for width in (32, 8))
    assert 0 < forward.seconds(voxels) < wide.seconds(voxels)
    # 4^1.55, less what every step takes.
    assert 4 < wide.per_voxel / narrow.per_voxel < 4**1.75
    assert narrow.fixed < wide.fixed


def test_the_work_of_a_convolution_is_counted_by_its_kind() -> None:
    """A machine that is infinitely quick at all but one kind of layer."""
    fast = MachineModel.load(file_of("slow")).to_json()
    fast |= {"bytes_per_second": 1e30, "seconds_per_weight": 1e-30, "seconds_per_layer": 1e-30}
    fast["training"] = {"float32": {"channels_last": {"3d": 1e30, "2d": 1e30, "depthwise": 1e30, "1x1": 3e9}}}
    layers = nn.Sequential(
        nn.Conv3d(32, 32, 3, padding=1),
        nn.Conv3d(32, 64, 1),
        nn.Conv3d(64, 64, 5, padding=2, groups=64),
        nn.ConvTranspose3d(64, 32, 2, 2),
    ).to("meta")
    step, _ = modelled(layers, (1, 32, 8, 8, 8), MachineModel.from_json(fast))
    assert step.per_voxel == pytest.approx(3 * 32 * 64 / 3e9)


def test_a_measurement_is_the_truth_about_its_width_and_a_hint_for_others() -> None:
    pace = Pace(lines)
    assert pace.seconds(2, 1e6, 8) == pytest.approx(1.8)
    pace.learn(8, (1_000_000, 3.6), (1_000_000, 0.22))
    assert pace.seconds(2, 1e6, 8) == pytest.approx(3.6)
    assert pace.forward(1e6, 8).seconds(1e6) == pytest.approx(0.22)
    assert pace.seconds(2, 1e6, 32) == pytest.approx(2 * 4.2)
    pace.learn(32, (1_000_000, 4.2), (500_000, 0.06))
    assert pace.seconds(2, 1e6, 32) == pytest.approx(4.2) and pace.seconds(2, 1e6, 16) in (2.6, 5.2)
    assert pace.seconds(2, 1e6, 8) == pytest.approx(3.6)
    pace.learn(8, (10_000, 0.81), (10_000, 0.011))
    assert pace.seconds(2, 1e6, 8) == pytest.approx(3.6), "each size has its own"


def test_what_is_done_around_the_network_comes_on_top() -> None:
    pace = Pace(lines, around=(0.3, 0.1, 1e-6))
    assert pace.seconds(2, 1e6, 8) == pytest.approx(3.3) and pace.network(1e6, 8) == pytest.approx(1.8)
    fixed_s, sample_s, voxel_s = pace.parts(1e6, 8)
    assert fixed_s + 2 * sample_s + 1e6 * voxel_s == pytest.approx(3.3), "a second look counts the same"


def test_a_share_and_earlier_trainings_make_steps_longer_but_not_what_they_compute() -> None:
    quiet, busy = Pace(lines), Pace(lines, correction=1.2, share=0.5)
    assert busy.seconds(2, 1e6, 8) == pytest.approx(2.4 * quiet.seconds(2, 1e6, 8))
    assert busy.computed(2, 1e6, 8) == quiet.computed(2, 1e6, 8)
    assert busy.forward(1e6, 8).seconds(1e6) == pytest.approx(2 * quiet.forward(1e6, 8).seconds(1e6))


def test_a_network_without_a_width_is_measured_too() -> None:
    pace = Pace(lines)
    pace.learn(None, (1_000_000, 11.0), (1_000_000, 1.1))
    assert pace.seconds(2, 1e6, None) == pytest.approx(11.0)
