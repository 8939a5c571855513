"""How each channel's intensities are normalised."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from autoseg.data.fingerprint import Fingerprint
from autoseg.errors import PlanError
from autoseg.planner.configuration import PERCENTILE
from autoseg.planner.plan import Configuration, Decision, Plan

# dataset.json says by a channel's name how it is normalised; anything else is a z-score of each image.
SCHEMES = {
    "ct": "CTNormalization",
    "nonorm": "NoNormalization",
    "zscore": "ZScoreNormalization",
    "rescale_to_0_1": "RescaleTo01Normalization",
    "rgb_to_0_1": "RGBTo01Normalization",
}
DEFAULT_SCHEME = "ZScoreNormalization"
# Below this share of voxels left by the crop, a z-score is taken inside the nonzero region only.
MASK_BELOW = 3 / 4
# What a trainer, or a user of any trainer, chooses from.
CHOICES = ("nnunet", "percentile")


def normalization(
    channels: Iterable[str], fingerprint: Fingerprint
) -> tuple[tuple[str, ...], tuple[bool, ...], Decision]:
    """nnU-Net's scheme for each channel, and whether it looks at the nonzero region only.

    Args:
        channels: names from dataset.json, in channel order.
        fingerprint: the fingerprint of the data set.
    """
    names = [str(channel) for channel in channels]
    schemes = tuple(SCHEMES.get(name.casefold(), DEFAULT_SCHEME) for name in names)
    cropped = fingerprint.relative_size_after_crop < MASK_BELOW
    masked = tuple(cropped and scheme == DEFAULT_SCHEME for scheme in schemes)
    decision = Decision(
        "normalization",
        _scheme_words(schemes, masked),
        f"by the channel's name (ct, noNorm, rescale_to_0_1, rgb_to_0_1, else z-score of each image); "
        f"z-scores inside the nonzero region if the crop leaves less than {MASK_BELOW:.0%} of the voxels",
        {"channels": names, "left_by_crop": fingerprint.relative_size_after_crop},
        "nnU-Net 2.8.1 get_normalization_scheme",
    )
    return schemes, masked, decision


def with_percentiles(plan: Plan, channels: Sequence[str], requested: bool) -> Plan:
    """The plan with each image clipped to percentiles of its foreground and z-scored within it.

    A channel whose name in dataset.json asks for a normalisation (noNorm, zscore, rescale_to_0_1,
    rgb_to_0_1) keeps it. CT keeps nnU-Net's scheme, which clips to percentiles as well and keeps Hounsfield
    units comparable between images, unless a user asks for this one. The preprocessed cases get folders of
    their own.

    Args:
        plan: as nnU-Net plans.
        channels: names from dataset.json, in channel order.
        requested: whether a user chose it, rather than a trainer's default.

    Raises:
        PlanError: if a user chose it and no channel can follow.
    """
    keep = {*SCHEMES} - ({"ct"} if requested else set())
    taken = [index for index, name in enumerate(channels) if name.casefold() not in keep]
    if not taken and requested:
        raise PlanError(
            f"Percentiles are requested, but the channels of {plan.dataset} ({', '.join(channels)}) have "
            f"names that stand for another normalisation. Leave the option out, or rename them in "
            f"dataset.json."
        )
    if not taken:
        return plan
    configurations = {
        name: _clipped(configuration, taken) for name, configuration in plan.configurations.items()
    }
    any_of_them = next(iter(configurations.values()))
    decision = Decision(
        "normalization",
        _scheme_words(any_of_them.normalization, any_of_them.use_mask_for_norm),
        "each image is clipped to the 0.5 and 99.5 percentiles of its nonzero region and z-scored within it; "
        "a channel whose name stands for another scheme keeps that"
        + ("" if requested else ", and CT nnU-Net's"),
        {"channels": list(channels)},
        "requested by the user" if requested else "the documented system",
    )
    others = (each for each in plan.decisions if each.name != decision.name)
    return dataclasses.replace(plan, configurations=configurations, decisions=(*others, decision))


def _clipped(configuration: Configuration, taken: Sequence[int]) -> Configuration:
    count = len(configuration.normalization)
    # A trainer's default and a user's wish may differ in their channels, and then in their folders.
    which = "" if len(taken) == count else "".join(f"_{index}" for index in taken)
    return dataclasses.replace(
        configuration,
        normalization=tuple(
            PERCENTILE if index in taken else configuration.normalization[index] for index in range(count)
        ),
        use_mask_for_norm=tuple(
            index in taken or configuration.use_mask_for_norm[index] for index in range(count)
        ),
        data_identifier=f"{configuration.data_identifier}_percentile{which}",
    )


def _scheme_words(schemes: Iterable[str], masked: Iterable[bool]) -> list[str]:
    """A scheme for each channel, in words."""
    return [
        f"{scheme}{' inside nonzero' if inside else ''}"
        for scheme, inside in zip(schemes, masked, strict=True)
    ]
