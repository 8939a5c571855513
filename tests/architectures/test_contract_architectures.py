"""What every architecture has to keep, whichever it is."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Any

import pytest
import torch
from network_facts import numberless, topology

from autoseg import plugins
from autoseg.architectures import (
    build_network,
    class_path,
    network_kwargs,
    parts_of,
    prepare_for_cpu,
    requires_import,
)
from autoseg.architectures._blocks import SegmentationNetwork
from autoseg.architectures._topology import cumulative
from autoseg.errors import PlanError
from autoseg.planner.topology import pooled

ARCHITECTURES = plugins.available("architectures")
MODULES = {name: plugins.find("architectures", name) for name in ARCHITECTURES}
CASES = [(name, axes) for name in ARCHITECTURES for axes in MODULES[name].DIMENSIONS]
# Narrow where a network can be: what is tested here does not depend on the width.
NARROW: dict[str, dict[str, Any]] = {
    "brainunet": {"width": 4},
    "deepmrseg": {"width": 8},
    "mednext": {"width": 8},
    "nnunet": {"width": 8},
    "nnunet_resenc": {"width": 4},
    "unet": {"width": 4},
}
PATCH = {2: (32, 64), 3: (16, 32, 32)}
# Sizes that no power of two divides, and volumes of thick slices, with the spacing that a plan goes by.
PATCHES = {
    (33, 47): (1.0, 1.0),
    (250, 131): (1.0, 1.0),
    (14, 64, 64): (4.0, 1.0, 1.0),
    (40, 56, 40): (1.0, 1.0, 1.0),
}
ANISOTROPIC = {
    2: [(1, 1), (1, 2), (2, 2), (2, 2)],
    3: [(1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2)],
}

# Volumes through a ResNet take seconds.
HEAVY = {("resnet34_mlp", 3), ("resnet34_unet", 3), ("resnet50_unet", 3)}

every = pytest.mark.parametrize(("name", "axes"), CASES)
every_but_slowly = pytest.mark.parametrize(
    ("name", "axes"),
    [pytest.param(*case, marks=pytest.mark.slow if case in HEAVY else ()) for case in CASES],
)
images_first = pytest.mark.parametrize(
    ("name", "axes"),
    [pytest.param(*case, marks=pytest.mark.slow if case[1] == 3 else ()) for case in CASES],
)


@functools.cache
def network(name: str, axes: int) -> Any:
    """One network for all tests that leave it as it is; in evaluation mode."""
    torch.manual_seed(0)
    return build_network(name, 2, 3, topology(PATCH[axes], 5), **NARROW.get(name, {})).eval()


def image(patch: tuple[int, ...], channels: int = 2, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, channels, *patch, generator=torch.Generator().manual_seed(1))


def outputs(result: Any) -> list[torch.Tensor]:
    return result if isinstance(result, list) else [result]


@pytest.mark.parametrize(
    ("name", "patch"), [(name, patch) for name, axes in CASES for patch in PATCHES if len(patch) == axes]
)
def test_any_patch_trains_under_deep_supervision(name: str, patch: tuple[int, ...]) -> None:
    """Largest output first and as large as the input; every parameter gets a gradient."""
    plan = dataclasses.replace(pooled(PATCHES[patch], patch, 4), patch_size=patch)
    torch.manual_seed(0)
    built = build_network(name, 2, 3, plan, deep_supervision=True, **NARROW.get(name, {})).train()
    result = built(image(patch))
    assert isinstance(result, list)
    strides = getattr(built, "output_strides", None) or cumulative(plan.strides)[: len(result)]
    sizes = [tuple(-(-n // s) for n, s in zip(patch, stride, strict=True)) for stride in strides]
    assert [tuple(output.shape) for output in result] == [(2, 3, *size) for size in sizes]
    assert sizes[0] == patch
    loss = sum(output.square().mean() for output in result)
    loss.backward()
    for key, parameter in built.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), key


@every
def test_anisotropic_plan_and_any_number_of_channels_and_classes(name: str, axes: int) -> None:
    plan = topology(PATCH[axes], strides=ANISOTROPIC[axes])
    for channels, classes in ((1, 1), (2, 5), (3, 2), (4, 3)):
        built = numberless(name, channels, classes, plan, **NARROW.get(name, {}))
        logits = built(torch.zeros(2, channels, *PATCH[axes], device="meta"))
        assert logits.shape == (2, classes, *PATCH[axes])


@every
def test_kwargs_survive_json_and_build_the_same_network_in_nnunet(name: str, axes: int) -> None:
    get_network_from_plans = pytest.importorskip(
        "nnunetv2.utilities.get_network_from_plans"
    ).get_network_from_plans
    options = NARROW.get(name, {})
    kwargs = network_kwargs(name, topology(PATCH[axes], 5), **options)
    stored = json.loads(json.dumps(kwargs, allow_nan=False))
    assert stored == kwargs
    with torch.device("meta"):
        built = get_network_from_plans(
            class_path(name), stored, requires_import(name), 2, 3, allow_init=True, deep_supervision=False
        )
    ours = {key: value.shape for key, value in network(name, axes).state_dict().items()}
    assert {key: value.shape for key, value in built.state_dict().items()} == ours


@every
def test_unknown_option_and_dimension_are_refused(name: str, axes: int) -> None:
    with pytest.raises(PlanError, match="has no option 'wings'"):
        network_kwargs(name, topology(PATCH[axes]), wings=2)
    for other in {2, 3} - set(MODULES[name].DIMENSIONS):
        with pytest.raises(PlanError, match=f"{name} is a .*D network .* is {other}D"):
            network_kwargs(name, topology(PATCH[other]))


@every
def test_every_option_says_what_it_means(name: str, axes: int) -> None:
    defaults = {key: option.default for key, option in MODULES[name].OPTIONS.items()}
    assert all(option.meaning for option in MODULES[name].OPTIONS.values())
    plan = topology(PATCH[axes], 5)
    assert network_kwargs(name, plan, **defaults) == network_kwargs(name, plan)


@every
def test_deep_supervision_is_a_switch_and_not_another_network(name: str, axes: int) -> None:
    plan = topology(PATCH[axes], 5)
    supervised = numberless(name, 2, 3, plan, deep_supervision=True, **NARROW.get(name, {}))
    assert supervised.state_dict().keys() == network(name, axes).state_dict().keys()
    switched = supervised if isinstance(supervised, SegmentationNetwork) else supervised.decoder
    x = torch.zeros(2, 2, *PATCH[axes], device="meta")
    assert isinstance(supervised(x), list)
    switched.deep_supervision = False
    assert isinstance(supervised(x), torch.Tensor)


@every
def test_every_parameter_is_in_one_part(name: str, axes: int) -> None:
    parts = parts_of(network(name, axes))
    assert next(iter(parts)) == "encoder"
    assert "decoder1" in parts
    assert "head" in parts
    named = [parameter for names in parts.values() for parameter in names]
    assert sorted(named) == sorted(key for key, _ in network(name, axes).named_parameters())
    shapes = dict(network(name, axes).named_parameters())
    assert shapes[parts["head"][0]].shape[0] == 3
    # Block 1 is the one next to the bottleneck, the widest.
    widest = [max(shapes[key].shape[0] for key in keys) for part, keys in parts.items() if part != "encoder"]
    assert widest[0] == max(widest)


@every_but_slowly
def test_weights_are_saved_and_loaded(name: str, axes: int, tmp_path: Any) -> None:
    torch.save(network(name, axes).state_dict(), tmp_path / "weights.pth")
    torch.manual_seed(7)
    other = build_network(name, 2, 3, topology(PATCH[axes], 5), **NARROW.get(name, {})).eval()
    x = image(PATCH[axes], batch=1)
    with torch.no_grad():
        expected = network(name, axes)(x)
        assert not torch.equal(other(x), expected)
        other.load_state_dict(torch.load(tmp_path / "weights.pth", weights_only=True))
        assert torch.equal(other(x), expected)


@every_but_slowly
def test_a_seed_decides_weights_and_training(name: str, axes: int) -> None:
    def gradients() -> list[torch.Tensor]:
        torch.manual_seed(3)
        built = build_network(
            name, 1, 2, topology(PATCH[axes], 5), deep_supervision=True, **NARROW.get(name, {})
        )
        loss = sum(output.square().mean() for output in outputs(built(image(PATCH[axes], 1))))
        return list(torch.autograd.grad(loss, list(built.parameters())))

    first, second = gradients(), gradients()
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(torch.isfinite(gradient).all() for gradient in first)


@every_but_slowly
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        (torch.float32, 1e-4),
        (torch.bfloat16, 0.05),
        pytest.param(torch.float16, 0.01, marks=pytest.mark.slow),
    ],
)
def test_channels_last_and_mixed_precision_are_close_to_full_precision(
    name: str, axes: int, dtype: torch.dtype, tolerance: float
) -> None:
    layout = torch.channels_last if axes == 2 else torch.channels_last_3d
    x = image(PATCH[axes])
    with torch.no_grad():
        expected = network(name, axes)(x)
        with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
            logits = network(name, axes)(x.to(memory_format=layout)).float()
    assert logits.shape == expected.shape
    assert (logits - expected).norm() < tolerance * expected.norm()


@every_but_slowly
def test_every_parameter_learns_in_bf16(name: str, axes: int) -> None:
    layout = torch.channels_last if axes == 2 else torch.channels_last_3d
    torch.manual_seed(3)
    built = build_network(name, 2, 3, topology(PATCH[axes], 5), deep_supervision=True, **NARROW.get(name, {}))
    prepare_for_cpu(built)
    built = built.to(memory_format=layout).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = outputs(built(image(PATCH[axes]).to(memory_format=layout)))
        loss = sum(output.float().square().mean() for output in result)
    loss.backward()
    for key, parameter in built.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key


@images_first
def test_a_compiler_sees_one_graph(name: str, axes: int) -> None:
    """Without a fall-back to Python: no branch depends on a value."""
    torch.compiler.reset()
    torch.manual_seed(0)
    options = NARROW.get(name, {}) | ({"layers": 1, "max_depth": 2} if name == "deepmrseg" else {})
    built = build_network(name, 1, 2, topology(PATCH[axes], 4), **options).eval()
    compiled = torch.compile(built, backend="eager", fullgraph=True)
    with torch.no_grad():
        assert torch.equal(compiled(image(PATCH[axes], 1)), built(image(PATCH[axes], 1)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["brainunet", "mednext", "nnunet"])
def test_compiled_networks_compute_the_same(name: str) -> None:
    torch.compiler.reset()
    torch.manual_seed(0)
    built = build_network(name, 1, 2, topology(PATCH[2], 3), **NARROW.get(name, {})).eval()
    compiled = torch.compile(built, backend="inductor", fullgraph=True)
    x = image(PATCH[2], 1)
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), built(x), rtol=1e-4, atol=1e-4)
    built.train()
    gradients = []
    for each in (built, compiled):
        built.zero_grad()
        each(x).square().mean().backward()
        # Without deep supervision the lower heads have none.
        found = [p.grad.flatten() for p in built.parameters() if p.grad is not None]
        gradients.append(torch.cat(found))
    assert (gradients[0] - gradients[1]).norm() < 1e-3 * gradients[0].norm()
