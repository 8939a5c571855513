"""What every architecture keeps, tried on those that are built in, and on one from outside and its faults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from network_facts import topology

from autoseg import plugins
from autoseg.architectures import (
    build_network,
    check_architecture,
    class_path,
    network_kwargs,
    parts_of,
)
from autoseg.cli.catalogue import entries
from autoseg.errors import PlanError, UsageError

TINY = '''"""A network of my own: one convolution a level."""

from torch import nn

from autoseg.architectures import Option, SegmentationNetwork, crop_to, pad_to_multiple

DIMENSIONS = (2, 3)
OPTIONS = {"width": Option(4, "features of every level")}


class Tiny(SegmentationNetwork):
    def __init__(self, input_channels, num_classes, deep_supervision=False, *, strides, width):
        totals = [[1] * len(strides[0])]
        for step in strides[1:]:
            totals.append([a * b for a, b in zip(totals[-1], step)])
        super().__init__(deep_supervision, totals[:2])
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[len(strides[0])]
        up = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[len(strides[0])]
        self.divisor = totals[1]
        self.stem = conv(input_channels, width, 3, padding=1)
        self.down = conv(width, 2 * width, 3, stride=tuple(strides[1]), padding=1)
        self.up = up(2 * width, width, tuple(strides[1]), stride=tuple(strides[1]))
        self.low_head = conv(2 * width, num_classes, 1)
        self.head = conv(width, num_classes, 1)

    @property
    def parts(self):
        return {"encoder": ["stem", "down"], "decoder1": ["up"], "head": ["head", "low_head"]}

    def forward(self, x):
        padded = pad_to_multiple(x, self.divisor)
        fine = self.stem(padded)
        low = self.down(fine)
        logits = self.head(fine + self.up(low))
        sizes = [-(-n // s) for n, s in zip(x.shape[2:], self.divisor)]
        return self.arrange(
            crop_to(logits, x.shape[2:]), lambda: [crop_to(self.low_head(low), sizes)]
        )


NETWORK = Tiny


def kwargs_for(topology, width):
    return {"strides": [list(row) for row in topology.strides], "width": width}
'''


@pytest.mark.parametrize("name", plugins.built_in("architectures"))
def test_what_is_built_in_keeps_it(name: str) -> None:
    assert check_architecture(name) == []


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.py"
    file.write_text(TINY)
    return file


def test_a_file_keeps_it_too(tiny: Path) -> None:
    assert check_architecture(str(tiny)) == []
    network = build_network(str(tiny), 1, 2, topology((32, 32), 3), width=8)
    assert network(torch.zeros(1, 1, 33, 47)).shape == (1, 2, 33, 47)
    assert set(parts_of(network)) == {"encoder", "decoder1", "head"}
    assert class_path(str(tiny)) == "autoseg_plugin_tiny.Tiny"
    with pytest.raises(PlanError, match="tiny has no option 'wings'"):
        network_kwargs(str(tiny), topology((32, 32), 3), wings=2)


def test_an_installed_one_goes_by_its_name(install: Any) -> None:
    install({"outside_nets": TINY}, {"autoseg.architectures": {"tiny_net": "outside_nets"}})
    assert check_architecture("tiny_net") == []
    (row,) = (row for row in entries("architectures") if row["name"] == "tiny_net")
    assert row["from"] == "outside 1.2" and row["about"].startswith("A network of my own")
    # Counted by hand: 1 * 4 * 9 + 4, 4 * 8 * 9 + 8, 8 * 4 * 4 + 4, 8 * 2 + 2, 4 * 2 + 2.
    assert row["parameters"]["2d"] == 40 + 296 + 132 + 18 + 10


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("NETWORK = Tiny", "", "tiny lacks NETWORK, the class of the network"),
        ("DIMENSIONS = (2, 3)", "DIMENSIONS = (4,)", r"tiny has DIMENSIONS \(4,\)"),
        ('Option(4, "features of every level")', "4", r"option 'width' is 4. Write OPTIONS"),
        ("num_classes, deep", "classes, deep", "takes no num_classes. Its __init__ takes input_channels"),
        ("    def parts(self):", "    def pieces(self):", "Tiny does not name its parts. Give it a property"),
        ('"width": width}', '"width": topology}', "which a plan cannot hold .*Give numbers"),
        ('["head", "low_head"]', '["head"]', "parameter low_head.weight of Tiny is in none"),
        ("crop_to(logits, x.shape[2:])", "logits", r"an image of \(33, 47\) gives \(2, 3, 34, 48\)"),
        ("return self.arrange(", "return (", "forward gives tuple; expected a list of logits"),
        ("totals[:2])", "totals[:1])", r"output_strides promise outputs of \[\(32, 64\)\]"),
        ("crop_to(self.low_head(low)", "crop_to(self.head(fine)", "2 parameters have no gradient"),
        ("self.stem(padded)", "self.stem(x[:, :1])", "running it ends with RuntimeError"),
    ],
)
def test_each_fault_is_named_with_how_to_mend_it(tiny: Path, before: str, after: str, message: str) -> None:
    assert TINY.count(before) == 1
    tiny.write_text(TINY.replace(before, after))
    found = check_architecture(str(tiny))
    assert found
    with pytest.raises(UsageError, match=message):
        raise UsageError(" ".join(found))


def test_a_network_of_no_base_of_ours_may_name_its_parts() -> None:
    class Plain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.top = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)

    with pytest.raises(PlanError, match=r"Plain are not known\. Give it a property"):
        parts_of(Plain())
    Plain.parts = property(lambda self: {"encoder": ["body"], "head": ["top"]})  # type: ignore[attr-defined]
    assert parts_of(Plain())["head"] == ("top.weight", "top.bias")


def test_arguments_are_checked_before_a_plan_has_them() -> None:
    kwargs = network_kwargs("unet", topology((32, 32), 3))
    assert json.loads(json.dumps(kwargs)) == kwargs
