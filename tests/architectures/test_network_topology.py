"""What a plan decides for a network, and how options are read."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from network_facts import topology

from autoseg.architectures import Topology, build_network, network_kwargs
from autoseg.errors import PlanError, UsageError


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"patch_size": (32,), "spacing": (1.0,)}, "has 1 axes"),
        ({"spacing": (1.0,)}, "does not fit the patch size"),
        ({"kernel_sizes": ((3, 3),)}, "strides for 2 stages and kernel sizes for 1"),
        ({"strides": ((1, 1), (2, 2, 2))}, "needs 2 positive numbers"),
        ({"strides": ((1, 1), (0, 2))}, "needs 2 positive numbers"),
        ({"strides": ((2, 2), (2, 2))}, "first stage has strides"),
    ],
)
def test_a_topology_that_makes_no_sense_is_refused(changed: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {
        "patch_size": (32, 32),
        "spacing": (1.0, 1.0),
        "strides": ((1, 1), (2, 2)),
        "kernel_sizes": ((3, 3), (3, 3)),
    }
    Topology(**good)
    with pytest.raises(PlanError, match=message):
        Topology(**good | changed)


def test_lists_from_json_are_as_good_as_tuples() -> None:
    a: Any = ([32, 32], [1.0, 1.0], [[1, 1], [2, 2]], [[3, 3], [3, 3]])
    assert Topology(*a) == Topology((32, 32), (1.0, 1.0), ((1, 1), (2, 2)), ((3, 3), (3, 3)))


@pytest.mark.parametrize(
    ("patch", "planned", "expected"),
    [
        ((256, 256), [(2, 2)] * 6, [(2, 2)] * 5),  # longer than the network: its first five
        ((40, 56, 40), [(2, 2, 2)] * 3, [(2, 2, 2)] * 5),  # shorter: halved on
        ((8, 64, 64), [(1, 2, 2), (1, 2, 2), (2, 2, 2)], [(1, 2, 2), (1, 2, 2)] + [(2, 2, 2)] * 3),
        ((2, 64, 64), [(1, 2, 2)], [(1, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2), (1, 2, 2)]),
    ],
)
def test_strides_of_a_network_with_five_levels(patch: Any, planned: Any, expected: Any) -> None:
    plan = topology(patch, strides=[(1,) * len(patch), *planned])
    assert list(plan.level_strides(5)) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gate": "iron"}, "gate is 'iron'; expected one of 'equal', 'grid', 'none'"),
        ({"width": "wide"}, "width is 'wide'; expected a value of type int"),
        ({"width": True}, "expected a value of type int"),
        ({"width": -1}, "expected a number that is not negative"),
        ({"width": 0}, "needs a level and a feature at least"),
        ({"auxiliary_heads": 4}, "there are 3 lower resolutions"),
    ],
)
def test_a_value_that_an_option_does_not_take_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        network_kwargs("brainunet", topology((40, 56, 40), 4), **options)


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(UsageError, match="no architecture named 'colossus'"):
        build_network("colossus", 1, 2, topology((32, 32)))


def test_the_arguments_of_nnunet_need_no_torch() -> None:
    code = (
        "import sys\n"
        "from autoseg.architectures import Topology, network_kwargs\n"
        "t = Topology((32, 32), (1, 1), ((1, 1), (2, 2)), ((3, 3), (3, 3)))\n"
        "network_kwargs('nnunet', t), network_kwargs('nnunet_resenc', t)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
