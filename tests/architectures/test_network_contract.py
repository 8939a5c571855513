"""What every architecture has to keep, whichever it is."""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest
import torch
from network_facts import topology

from autoseg import plugins
from autoseg.architectures import (
    build_network,
    class_path,
    network_kwargs,
    parts_of,
    prepare_for_cpu,
    requires_import,
)
from autoseg.errors import PlanError

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
# nnU-Net's own networks take the sizes that their strides divide, which a plan always gives.
OWN = [(name, axes) for name, axes in CASES if not name.startswith("nnunet")]
PATCH = {2: (32, 64), 3: (16, 32, 32)}
ODD = {2: [(33, 47), (40, 36)], 3: [(14, 33, 32)]}
ANISOTROPIC = {
    2: [(1, 1), (1, 2), (2, 2), (2, 2)],
    3: [(1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2)],
}

# Volumes through a ResNet take seconds to initialise alone.
HEAVY = {("resnet34_mlp", 3), ("resnet34_unet", 3), ("resnet50_unet", 3)}

every = pytest.mark.parametrize(("name", "axes"), CASES)
every_but_slowly = pytest.mark.parametrize(
    ("name", "axes"),
    [pytest.param(*case, marks=pytest.mark.slow if case in HEAVY else ()) for case in CASES],
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


@every
def test_output_has_the_size_of_the_input(name: str, axes: int) -> None:
    patches = [PATCH[axes], *(ODD[axes] if (name, axes) in OWN else [])]
    for patch in patches:
        with torch.no_grad():
            logits = network(name, axes)(image(patch, batch=1))
        assert logits.shape == (1, 3, *patch)


@every
@pytest.mark.parametrize(("channels", "classes"), [(1, 1), (4, 5)])
def test_anisotropic_plan_and_any_number_of_channels_and_classes(
    name: str, axes: int, channels: int, classes: int
) -> None:
    plan = topology(PATCH[axes], strides=ANISOTROPIC[axes])
    with torch.device("meta"):
        built = build_network(name, channels, classes, plan, **NARROW.get(name, {}))
        logits = built(torch.zeros(2, channels, *PATCH[axes]))
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
    with torch.device("meta"):
        supervised = build_network(name, 2, 3, plan, deep_supervision=True, **NARROW.get(name, {}))
        result = supervised(torch.zeros(2, 2, *PATCH[axes]))
        assert isinstance(result, list)
        assert supervised.state_dict().keys() == network(name, axes).state_dict().keys()
        if (name, axes) not in OWN:
            return
        sizes = [tuple(output.shape[2:]) for output in result]
        assert sizes == [
            tuple(-(-n // s) for n, s in zip(PATCH[axes], stride, strict=True))
            for stride in supervised.output_strides
        ]
        supervised.deep_supervision = False
        assert isinstance(supervised(torch.zeros(2, 2, *PATCH[axes])), torch.Tensor)


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
@pytest.mark.parametrize("dtype", [torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.slow)])
def test_mixed_precision_in_channels_last_is_close_to_full_precision(
    name: str, axes: int, dtype: torch.dtype
) -> None:
    layout = torch.channels_last if axes == 2 else torch.channels_last_3d
    x = image(PATCH[axes])
    with torch.no_grad():
        expected = network(name, axes)(x)
        with torch.autocast("cpu", dtype=dtype):
            logits = network(name, axes)(x.to(memory_format=layout)).float()
    assert logits.shape == expected.shape
    error = (logits - expected).norm() / expected.norm()
    assert error < (0.05 if dtype == torch.bfloat16 else 0.01)


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
