"""Convolutions in 3D that are written in 2D give the same logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoseg.bundle.segment import load_network
from autoseg.inference import flat_convolutions
from autoseg.inference.onnx_network import write_network

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
PATCH = (8, 10, 12)


class Every(nn.Module):
    """Convolutions of all kinds, one after the other, two of them on the same input."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv3d(2, 16, 3, padding=1), nn.LeakyReLU(0.1))
        self.uneven = nn.Conv3d(16, 16, (3, 1, 5), stride=(2, 1, 2), padding=(1, 0, 2), bias=False)
        self.planes = nn.Sequential(nn.Conv3d(16, 16, (1, 3, 3), padding=(0, 1, 1)), nn.ReLU())
        self.whole = nn.Conv3d(16, 16, 3, stride=(1, 2, 1))
        self.grouped = nn.Conv3d(16, 16, 3, padding=1, groups=2)
        self.dilated = nn.Conv3d(16, 16, 3, padding=2, dilation=2)
        self.single = nn.Conv3d(16, 3, 1)

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
    # Few channels; in groups, dilated, and a product already.
    assert _kernels(path) == [3, 2, 2, 2, 3, 3, 3]
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


@pytest.mark.parametrize(
    ("patch", "most", "kept"), [((4, 2, 2), 2**27, 3), ((4, 8, 8), 2**27, 2), ((4, 8, 8), 2**15, 3)]
)
def test_small_planes_and_large_volumes_stay_in_3d(
    patch: tuple[int, ...], most: int, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flat_convolutions, "_MOST_COPIED", most)
    write_network(nn.Conv3d(16, 2, 3, padding=1).eval(), 16, patch, tmp_path / "network.onnx")
    assert _kernels(tmp_path / "network.onnx") == [kept]
