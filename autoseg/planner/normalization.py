"""How each channel's intensities are normalised."""

from __future__ import annotations

from collections.abc import Iterable

from autoseg.fingerprint import Fingerprint
from autoseg.plan import Decision

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


def normalization(
    channels: Iterable[str], fingerprint: Fingerprint
) -> tuple[tuple[str, ...], tuple[bool, ...], Decision]:
    """nnU-Net's scheme for each channel, and whether it looks at the nonzero region only.

    Args:
        channels: names from dataset.json, in channel order.
        fingerprint: of the data set.
    """
    names = [str(channel) for channel in channels]
    schemes = tuple(SCHEMES.get(name.casefold(), DEFAULT_SCHEME) for name in names)
    cropped = fingerprint.relative_size_after_crop < MASK_BELOW
    masked = tuple(cropped and scheme == DEFAULT_SCHEME for scheme in schemes)
    decision = Decision(
        "normalization",
        [
            f"{scheme}{' inside nonzero' if inside else ''}"
            for scheme, inside in zip(schemes, masked, strict=True)
        ],
        f"by the channel's name (ct, noNorm, rescale_to_0_1, rgb_to_0_1, else z-score of each image); "
        f"z-scores inside the nonzero region if the crop leaves less than {MASK_BELOW:.0%} of the voxels",
        {"channels": names, "left_by_crop": fingerprint.relative_size_after_crop},
        "nnU-Net 2.8.1 get_normalization_scheme",
    )
    return schemes, masked, decision
