"""Convolutions in 3D that are written in 2D give the same logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoseg.bundle.segment import load_network
from autoseg.inference.onnx_network import write_network

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
PATCH = (8, 10, 12)


class Every(nn.Module):
    """Convolutions of all kinds, one after the other, two of them on the same input."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv3d(2, 8, 3, padding=1), nn.LeakyReLU(0.1))
        self.uneven = nn.Conv3d(8, 8, (3, 1, 5), stride=(2, 1, 2), padding=(1, 0, 2), bias=False)
        self.planes = nn.Sequential(nn.Conv3d(8, 8, (1, 3, 3), padding=(0, 1, 1)), nn.ReLU())
        self.whole = nn.Conv3d(8, 8, 3, stride=(1, 2, 1))
        self.grouped = nn.Conv3d(8, 8, 3, padding=1, groups=2)
        self.dilated = nn.Conv3d(8, 8, 3, padding=2, dilation=2)
        self.single = nn.Conv3d(8, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.uneven(self.first(image))
        x = torch.relu(self.planes(x) + x)
        x = self.whole(x)
        # Used twice: an activation must not go along with the convolution.
        return torch.as_tensor(self.single(self.dilated(self.grouped(x) + torch.relu(x))))


def _network() -> nn.Module:
    torch.manual_seed(0)
    return Every().eval()


def _kernels(path: Path) -> list[int]:
    model = onnx.load(path)
    dims = {each.name: len(each.dims) - 2 for each in model.graph.initializer}
    return [dims[node.input[1]] for node in model.graph.node if node.op_type == "Conv"]


def test_convolutions_in_3d_become_2d_where_that_is_the_same(tmp_path: Path) -> None:
    network, path = _network(), tmp_path / "network.onnx"
    assert write_network(network, 2, PATCH, path) < 1e-4
    assert _kernels(path) == [2, 2, 2, 2, 3, 3, 3]  # in groups, dilated, and a product already
    for batch in (1, 3):
        image = torch.randn(batch, 2, *PATCH)
        with torch.no_grad():
            expected = network(image).numpy()
        np.testing.assert_allclose(load_network(path.read_bytes(), "n")(image.numpy()), expected, atol=1e-4)


def test_weights_are_there_once(tmp_path: Path) -> None:
    network, sizes = _network(), []
    for flat in (False, True):
        write_network(network, 2, PATCH, tmp_path / f"{flat}.onnx", flat)
        model = onnx.load(tmp_path / f"{flat}.onnx")
        sizes.append(sum(np.prod(each.dims) for each in model.graph.initializer if each.data_type == 1))
    assert sizes[0] == sizes[1]


def test_they_stay_in_3d_for_a_browser(tmp_path: Path) -> None:
    write_network(_network(), 2, PATCH, tmp_path / "network.onnx", flat=False)
    assert set(_kernels(tmp_path / "network.onnx")) == {3}


def test_small_planes_stay_in_3d(tmp_path: Path) -> None:
    write_network(nn.Conv3d(1, 2, 3, padding=1).eval(), 1, (4, 2, 2), tmp_path / "network.onnx")
    assert _kernels(tmp_path / "network.onnx") == [3]
