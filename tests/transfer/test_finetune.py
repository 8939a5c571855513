"""What fine-tuning trains and what it leaves alone, to the tensor."""

from __future__ import annotations

import copy
import functools
import logging
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from network_facts import build, on_meta
from torch import nn

from autoseg import plugins
from autoseg.architectures import parts_of
from autoseg.errors import RunError, UsageError
from autoseg.transfer.policy import FineTunePolicy, bare, set_learning_rates
from autoseg.transfer.strategies import ALIASES, STRATEGIES

NINE = "abcdefghi"
# arXiv 2407.20086 for 3 channels and 1 class: trainable, frozen and trained tensors.
PUBLISHED = {
    "a": (4_405_073, 2_223_872, 32), "b": (2_223_872, 4_405_073, 156), "c": (2_223_872, 4_405_073, 156),
    "d": (3_761_152, 2_867_793, 6), "e": (4_240_896, 2_388_049, 12), "f": (4_365_568, 2_263_377, 18),
    "g": (164_032, 6_464_913, 18), "h": (6_976, 6_621_969, 6), "i": (4_405_073, 2_223_872, 32),
}  # fmt: skip
# Encoder, the five decoder blocks and the head, by channels, classes and axes.
SIZES = {
    (3, 1, 2): (2_223_872, (3_761_152, 479_744, 124_672, 32_384, 6_976), 145),
    (1, 1, 2): (2_223_296, (3_761_152, 479_744, 124_672, 32_384, 6_976), 145),
    (1, 2, 3): (2_352_320, (11_281_408, 1_438_208, 373_504, 96_896, 20_800), 866),
    (3, 1, 3): (2_354_048, (11_281_408, 1_438_208, 373_504, 96_896, 20_800), 433),
}
FIRST, LAST = {"d": 1, "e": 2, "f": 3}, {"g": 3, "h": 1}
NARROW: dict[str, dict[str, Any]] = {
    "brainunet": {"width": 4},
    "deepmrseg": {"width": 8},
    "mednext": {"width": 8},
    "nnunet": {"width": 8},
    "nnunet_resenc": {"width": 4},
    "unet": {"width": 4},
}


def expected(strategy: str, encoder: int, blocks: tuple[int, ...], head: int) -> int:
    if strategy in "bc":
        return encoder
    if strategy in "ai":
        return sum(blocks) + head
    return sum(blocks[: FIRST[strategy]] if strategy in FIRST else blocks[-LAST[strategy] :])


def count(parameters: list[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def mobilenet(channels: int = 1, classes: int = 2) -> Any:
    torch.manual_seed(0)
    return build("mobilenetv2_unet", channels, classes, (32, 32))


def one_step(network: nn.Module, optimizer: torch.optim.Optimizer, channels: int = 1, axes: int = 2) -> None:
    x = torch.randn(2, channels, *(64,) * axes, generator=torch.Generator().manual_seed(1))
    output = network(x)
    loss = sum((y * torch.randn_like(y)).mean() for y in (output if isinstance(output, list) else [output]))
    loss.backward()  # type: ignore[union-attr]
    optimizer.step()


@pytest.mark.parametrize(("channels", "classes", "axes"), SIZES)
@pytest.mark.parametrize("strategy", NINE)
def test_the_nine_trainable_counts(strategy: str, channels: int, classes: int, axes: int) -> None:
    network = on_meta("mobilenetv2_unet", channels, classes, (64,) * axes)
    encoder, blocks, head = SIZES[channels, classes, axes]
    trained = FineTunePolicy.named(strategy).apply(network)
    frozen = [p for p in network.parameters() if not p.requires_grad]
    assert count(trained) == expected(strategy, encoder, blocks, head)
    assert count(trained) + count(frozen) == encoder + sum(blocks) + head
    assert [id(p) for p in network.parameters() if p.requires_grad] == [id(p) for p in trained]
    if (channels, classes, axes) == (3, 1, 2):
        assert (count(trained), count(frozen), len(trained)) == PUBLISHED[strategy]
    if (channels, classes, axes) == (1, 2, 3):
        assert count(trained) + count(frozen) == 15_564_002


@pytest.mark.parametrize("strategy", NINE)
def test_one_step_changes_exactly_what_is_trained(strategy: str) -> None:
    network = mobilenet()
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    trained = FineTunePolicy.named(strategy).apply(network)
    names = {name for name, p in network.named_parameters() if any(p is q for q in trained)}
    optimizer = torch.optim.Adam(trained, 1e-3)
    one_step(network, optimizer)
    assert {name for name, p in network.named_parameters() if not torch.equal(p, before[name])} == names
    moments = [v for state in optimizer.state.values() for v in state.values() if v.ndim]
    assert sum(moment.numel() for moment in moments) == 2 * count(trained)


@pytest.mark.parametrize("strategy", NINE)
@pytest.mark.parametrize("frozen_norm", ["train", "eval"])
def test_running_statistics_follow_frozen_norm(strategy: str, frozen_norm: Any) -> None:
    network = mobilenet()
    policy = FineTunePolicy.named(strategy, frozen_norm=frozen_norm)
    optimizer = torch.optim.Adam(policy.apply(network), 1e-3)
    network.train()
    kept = policy.keep_frozen_norm(network)
    before = {name: b.clone() for name, b in network.named_buffers() if name.endswith("running_mean")}
    one_step(network, optimizer)
    moved = {name for name, b in network.named_buffers() if name in before and not b.equal(before[name])}
    encoder = {name for name in before if name.startswith("encoder")}
    assert (len(encoder), len(before)) == (52, 62)
    if frozen_norm == "train":
        assert kept == 0 and moved == set(before)
    else:
        trained_encoder = strategy in "bc"
        assert bool(moved & encoder) == trained_encoder and encoder <= moved | (before.keys() - moved)
        blocks = {"d": 1, "e": 2, "f": 3, "g": 3, "h": 1, "a": 5, "i": 5}.get(strategy, 0)
        assert len(moved) == (52 if trained_encoder else 2 * blocks) == len(before) - kept


def test_gradients_reach_the_encoder_through_a_frozen_decoder() -> None:
    network = mobilenet()
    FineTunePolicy.named("ft_encoder").apply(network)
    network(torch.randn(2, 1, 32, 32)).square().mean().backward()
    assert network.encoder.features[0][0].weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in network.decoder.parameters())


@functools.cache
def trainers_networks() -> list[tuple[str, nn.Module]]:
    """Every trainer's network in every dimension it has, without its numbers."""
    from autoseg.tailoring.network import build_network

    names = plugins.available("trainers")
    with torch.device("meta"):
        return [
            (name, build_network(name, 1, 2, (64,) * axes))
            for name in names
            for axes in plugins.trainer_class(name).dimensions
        ]


@pytest.mark.parametrize("strategy", [*STRATEGIES, *ALIASES])
def test_every_trainers_network_takes_every_strategy_that_it_has_the_blocks_for(strategy: str) -> None:
    seen = set()
    for name, network in trainers_networks():
        parts, policy = parts_of(network), FineTunePolicy.named(strategy)
        blocks = [part for part in parts if part.startswith("decoder")]
        if abs(policy.strategy.blocks or 0) > len(blocks):
            with pytest.raises(UsageError, match=r"decoder has 1\. Choose"):
                policy.apply(network)
            continue
        policy.apply(network)
        trained = {key for key, p in network.named_parameters() if p.requires_grad}
        whole = {part for part, names in parts.items() if trained.issuperset(names)}
        touched = {part for part, names in parts.items() if trained.intersection(names)}
        assert whole == touched == set(policy.schedule(network)), name
        seen.add(name)
    assert len(seen) >= len(plugins.available("trainers")) - 3  # three decoders are of one piece


def test_nnunets_decoder_holds_its_encoder_and_is_told_apart() -> None:
    network = build("nnunet", 1, 2, (32, 32), stages=4, width=4)
    assert network.decoder.encoder is network.encoder
    trained = FineTunePolicy.named("ft_decoder").apply(network)
    assert not any(p.requires_grad for p in network.encoder.parameters())
    assert count(trained) == count(list(network.parameters())) - count(list(network.encoder.parameters()))
    before = copy.deepcopy(network.encoder.state_dict())
    one_step(network, torch.optim.SGD(trained, 0.1))
    assert all(torch.equal(before[key], value) for key, value in network.encoder.state_dict().items())


def test_nnunets_published_3d_network_splits_as_documented() -> None:
    from autoseg.architectures import Topology, build_network

    strides = ((1, 1, 1), *[(2, 2, 2)] * 5)
    plan = Topology((128,) * 3, (1.0,) * 3, strides, ((3, 3, 3),) * 6)
    with torch.device("meta"):
        network = build_network("nnunet", 4, 4, plan)
    assert count(FineTunePolicy.named("c").apply(network)) == 14_027_712
    assert count(FineTunePolicy.named("i").apply(network)) == 17_172_084


def test_a_policy_reaches_through_wrappers() -> None:
    network = mobilenet()
    wrapped = nn.DataParallel(torch.compile(network))  # type: ignore[arg-type]
    assert bare(wrapped) is network
    policy = FineTunePolicy.named("h", frozen_norm="eval")
    assert count(policy.apply(wrapped)) == 6_976
    assert count([p for p in network.parameters() if p.requires_grad]) == 6_976
    assert policy.keep_frozen_norm(wrapped) == 60


@pytest.fixture
def process_group(tmp_path: Any) -> Any:
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_distributed_training_needs_no_search_for_unused_parameters() -> None:
    network = build("unet", 1, 2, (32, 32), width=4)
    policy = FineTunePolicy.named("gradual")
    optimizer = torch.optim.SGD(policy.groups(network, 0.1), 0.1)
    policy.apply(network)
    wrapped = nn.parallel.DistributedDataParallel(network)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    for _ in range(2):  # a second step fails if the first left gradients outstanding
        policy.follow(wrapped, 0.0)
        set_learning_rates(optimizer, 0.1, 0.0)
        optimizer.zero_grad()
        one_step(wrapped, optimizer)
    changed = {name for name, p in network.named_parameters() if not torch.equal(p, before[name])}
    assert changed == set(parts_of(network)["head"])
    with pytest.raises(RunError, match="before DistributedDataParallel"):
        FineTunePolicy.named("c").apply(wrapped)


def test_gradual_unfreezing_opens_from_the_head_to_the_encoder() -> None:
    network = mobilenet()
    policy = FineTunePolicy.named("gradual")
    assert policy.open_parts(network, 0.0) == ("head",)
    assert policy.open_parts(network, 0.25) == ("decoder3", "decoder4", "decoder5", "head")
    assert policy.open_parts(network, 0.5) == tuple(parts_of(network))
    optimizer = torch.optim.SGD(policy.groups(network, 0.1), 0.1)
    policy.apply(network)
    for progress, parts in ((0.0, {"head"}), (0.09, {"head", "decoder5"}), (0.7, set(parts_of(network)))):
        policy.follow(network, progress)
        set_learning_rates(optimizer, 0.1, progress)
        before = {name: p.detach().clone() for name, p in network.named_parameters()}
        optimizer.zero_grad()
        one_step(network, optimizer)
        moved = {name for name, p in network.named_parameters() if not torch.equal(p, before[name])}
        assert moved == {name for part in parts for name in parts_of(network)[part]}


def test_the_head_of_deepmrseg_opens_first_although_it_is_not_named_last() -> None:
    network = build("deepmrseg", 1, 2, (32, 32), width=8)
    assert FineTunePolicy.named("gradual").open_parts(network, 0.0) == ("head",)


def test_rates_and_times_by_part() -> None:
    network = mobilenet()
    policy = FineTunePolicy.named(
        "all", encoder_rate=0.1, decoder_rate=0.5, decoder5_rate=0.7, encoder_opens=0.2
    )
    optimizer = torch.optim.AdamW(policy.groups(network, 1e-3), 1e-3)
    rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
    assert rates["encoder"] == 0.0
    assert rates["decoder1"] == pytest.approx(5e-4) and rates["decoder5"] == pytest.approx(7e-4)
    assert rates["head"] == pytest.approx(1e-3)
    set_learning_rates(optimizer, 1e-4, 0.2)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-5)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 190 - 2
    other = torch.optim.SGD(network.parameters(), 0.5)
    set_learning_rates(other, 0.25, 0.0)
    assert other.param_groups[0]["lr"] == 0.25


def test_random_weights_that_stay_random_are_named(caplog: pytest.LogCaptureFixture) -> None:
    network = mobilenet()
    encoder = parts_of(network)["encoder"]

    def warned(policy: str, loaded: Any = (), **options: Any) -> str:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            FineTunePolicy.named(policy, **options).apply(network, loaded)
        return caplog.text

    assert "decoder2, decoder3, decoder4, decoder5, head" in warned("d", encoder)
    assert "train_head=true" in warned("ft_encoder", encoder)
    assert "(train_head=true)" not in warned("d", encoder, train_head=True)
    assert "encoder" in warned("ft_decoder")
    assert warned("a") == ""
    assert warned("ft_decoder", encoder) == ""
    assert warned("d", [name for name, _ in network.named_parameters()]) == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("j", r"no fine-tuning strategy 'j'.*a, b, c.*ft_decoder"),
        ("i:frozen_norm", "frozen_norm' has no value"),
        ("i:frozen_norm=off", "expected 'train' or 'eval'"),
        ("i:train_head=perhaps", "true, false or auto"),
        ("i:wings=2", "no option 'wings'"),
        ("i:decoder_rate=fast", "expected a number"),
        ("all:encoder_rate=0", "above 0"),
        ("all:encoder_opens=1", "below 1"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        FineTunePolicy.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("i:encoder_rate=0.5", "encoder is not trained.*decoder1"),
        ("all:decoder9_rate=0.5", "decoder9 is not trained"),
        ("i:decoder_opens=0.1:head_opens=0.1", "at the start"),
        ("d:train_head=true:decoder5_opens=0.5", "decoder5 is not trained"),
    ],
)
def test_what_does_not_fit_the_network_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        FineTunePolicy.parse(text).apply(mobilenet())


@given(
    st.sampled_from([*STRATEGIES, *ALIASES]),
    st.sampled_from([None, True, False]),
    st.sampled_from(["train", "eval"]),
    st.dictionaries(st.sampled_from(["encoder", "decoder", "decoder2", "head"]), st.floats(1e-6, 1e3)),
    st.dictionaries(st.sampled_from(["encoder", "decoder", "decoder2"]), st.floats(0, 0.999)),
)
def test_a_policy_is_read_back_from_its_text(
    name: str, head: Any, norm: Any, rates: dict[str, float], opens: dict[str, float]
) -> None:
    policy = FineTunePolicy(name, head, norm, rates, opens)
    assert FineTunePolicy.parse(str(policy)) == policy


def test_a_description_has_the_numbers() -> None:
    network = on_meta("mobilenetv2_unet", 3, 1, (64, 64))
    text = FineTunePolicy.named("ft_decoder").describe(network)
    assert "4,405,073 of 6,628,945 parameters, in 32 tensors" in text
