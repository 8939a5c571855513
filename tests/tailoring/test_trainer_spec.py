from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest

from autoseg.errors import UsageError
from autoseg.tailoring.spec_text import check_length
from autoseg.tailoring.trainer_spec import Choice


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("nnunet", {}),
        ("nnunet:mirroring=no", {"mirroring": False}),
        ("nnunet:mirroring=Off", {"mirroring": False}),
        ("nnunet:mirroring=yes", {"mirroring": True}),
        ("nnunet:learning_rate=1e-3:epochs=7", {"learning_rate": 1e-3, "epochs": 7}),
        ("nnunet:schedule=cosine: optimizer_name = adam", {"schedule": "cosine", "optimizer_name": "adam"}),
        ("mednext_s:checkpointing=on:kernel=5", {"checkpointing": "on", "kernel": 5}),
        ("deepmrseg:dropout=off:down_kernel=2", {"dropout": False, "down_kernel": 2}),
        ("resnet34_mlp:decoder_features=64+32+16+8+8", {"decoder_features": (64, 32, 16, 8, 8)}),
        ("nnunet:width=8:cases=10%:normalization=percentile", None),
    ],
)
def test_values_have_the_types_of_their_options_and_the_text_reads_back(
    text: str, options: dict[str, Any] | None
) -> None:
    choice = Choice.parse(text)
    if options is not None:
        assert choice.options == options
        assert [type(value) for value in choice.options.values()] == [*map(type, options.values())]
    assert Choice.parse(str(choice)) == choice


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("optimizer_name=lion", "optimizer_name is 'lion'; expected sgd, adam or adamw"),
        ("schedule=linear", "schedule is 'linear'; expected poly, cosine or plateau"),
        ("mirroring=maybe", "mirroring is 'maybe'; expected true or false"),
        ("mirroring=1", "mirroring is '1'; expected true or false"),
        ("learning_rate=nan", "learning_rate is nan; expected a finite number above 0"),
        ("learning_rate=inf", "learning_rate is inf"),
        ("learning_rate=0", "learning_rate is 0; expected a finite number above 0"),
        ("learning_rate=fast", "learning_rate is 'fast'"),
        ("weight_decay=-1", "weight_decay is -1; expected a finite number from 0"),
        ("warmup=1", "warmup is 1; expected a finite number from 0 and below 1"),
        (
            "foreground_oversampling=33",
            "foreground_oversampling is 33; expected a finite number from 0 and up",
        ),
        ("epochs=2.5", "epochs is '2.5'; expected a whole number of at least 1"),
        ("steps_per_epoch=0", "steps_per_epoch is 0"),
        ("best_checkpoints=-1", "best_checkpoints is -1; expected a whole number of at least 0"),
        ("orientations=4", "orientations is 4; expected a whole number from 1 to 3"),
        ("normalization=minmax", "normalization is 'minmax'; expected nnunet or percentile"),
        ("width=wide", "width is 'wide'; expected a whole number"),
        ("width=-8", "width is -8; expected a whole number of at least 0"),
        ("widht=8", "no option 'widht'. Did you mean 'width'"),
        ("depthwise=true", "no option 'depthwise'"),
        ("epochs=3:epochs=4", "the option epochs is given twice"),
        ("epochs", "has no value. Write nnunet:option=value"),
        ("epochs=", "has no value"),
        ("=3", "has no value"),
        ("finetune=ft_nothing", "no fine-tuning strategy 'ft_nothing'"),
        ("finetune=ft_decoder+frozen_norm", "has no value"),
        ("finetune=ft_decoder+frozen=eval", "no option 'frozen'"),
        ("cases=none", "'none' is not a number of cases"),
        ("stock=true:width=8", "leave out width"),
    ],
)
def test_what_makes_no_sense_is_refused_when_it_is_parsed(options: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        Choice.parse(f"nnunet:{options}")
    assert told in str(caught.value)


def test_all_wrong_values_are_named_at_once_with_the_next_step() -> None:
    with pytest.raises(UsageError) as caught:
        Choice.parse("nnunet:optimizer_name=lion:schedule=linear:mirroring=no")
    assert str(caught.value) == (
        "nnunet:optimizer_name=lion:schedule=linear:mirroring=no: "
        "optimizer_name is 'lion'; expected sgd, adam or adamw. "
        "schedule is 'linear'; expected poly, cosine or plateau. "
        "Correct the value, or leave the option out."
    )


def test_an_unknown_trainer_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"'nnunte' is not a trainer. Did you mean 'nnunet'\?"):
        Choice.parse("nnunte:epochs=3")


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer_name": "lion"},
        {"mirroring": "no"},
        {"mirroring": 1},
        {"epochs": True},
        {"epochs": 2.0},
        {"learning_rate": math.nan},
        {"learning_rate": "1e-3"},
        {"width": "8"},
        {"depthwise": True},
        {"normalization": "minmax"},
    ],
)
def test_options_given_in_python_are_checked_as_well(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(options))}|depthwise"):
        Choice("nnunet", options)


def test_a_length_is_given_once() -> None:
    check_length("nnunet", {"learning_rate": 1e-3}, 5)
    check_length("nnunet:epochs=3", {"epochs": 3}, None)
    with pytest.raises(
        UsageError, match="nnunet:epochs=3: epochs=3 cannot be set where all runs have 5 epochs"
    ):
        check_length("nnunet:epochs=3", {"epochs": 3}, 5)
    with pytest.raises(UsageError, match="all runs have 20 steps"):
        check_length("nnunet:steps_per_epoch=3", {"steps_per_epoch": 3}, None, 20)


def test_hyper_parameters_are_checked_without_torch() -> None:
    code = (
        "import sys; from autoseg.tailoring.spec_text import read_spec;"
        "print(read_spec('nnunet:epochs=3:mirroring=no'), {'torch', 'nnunetv2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "('nnunet', {'epochs': 3, 'mirroring': False}) set()"
