"""Intensity normalisations, nnU-Net's and one more, in place and one channel at a time.

Sums are taken in float32 along the last axis and in float64 across the rest: as fast as float32 all the way,
and closer to the exact value than numpy's own float32 mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.errors import DataError, PlanError
from autoseg.planner.configuration import PERCENTILE

Channel = NDArray[np.float32]
Inside = NDArray[np.bool_] | None
Scheme = Callable[[Channel, Inside, Mapping[str, float]], None]


_SMALLEST = 1e-8  # nnU-Net's floor of every divisor
_TAILS = (0.5, 99.5)  # percent


def normalize(scheme: str, channel: Channel, inside: Inside, intensities: Mapping[str, float]) -> None:
    """Normalise one channel in place.

    Args:
        scheme: its name in nnU-Net's plans.
        channel: (z, y, x), float32, contiguous; zero outside the nonzero region.
        inside: the nonzero region, if the plan normalises within it only (z-scores alone do).
        intensities: the fingerprint's statistics of this channel (CT alone needs them).

    Raises:
        PlanError: for an unknown scheme.
        DataError: if the scheme does not fit the values.
    """
    if scheme not in SCHEMES:
        raise PlanError(
            f"There is no normalisation {scheme!r}. Choose one of {', '.join(SCHEMES)} in the plan."
        )
    SCHEMES[scheme](channel, inside, intensities)


def _z_score(channel: Channel, inside: Inside, intensities: Mapping[str, float]) -> None:
    count = channel.size if inside is None else int(np.count_nonzero(inside))
    channel -= np.float32(channel.sum(axis=-1).sum(dtype=np.float64) / max(count, 1))
    if inside is not None:
        # The region's complement is zero before and has to be zero after.
        np.multiply(channel, inside, out=channel)
    squares = np.einsum("...i,...i->...", channel, channel).sum(dtype=np.float64)
    channel /= np.float32(max(np.sqrt(squares / max(count, 1)), _SMALLEST))


def _percentile_z_score(channel: Channel, inside: Inside, intensities: Mapping[str, float]) -> None:
    """Clip to the 0.5 and 99.5 percentiles of the foreground, then z-score with its mean and spread.

    The foreground is the nonzero region as nnU-Net has it (of all channels together, holes filled); where an
    image has no zeros around it, or `inside` is None, that is every voxel. Outside stays zero. A foreground
    of one value, or one that the clip leaves a single value of, becomes zero. Infinite values are clipped
    as others are while they are fewer than what is clipped.
    """
    values = channel.flatten() if inside is None else channel[inside]
    if not values.size:
        return
    with np.errstate(invalid="ignore"):  # infinity - infinity, which is refused below
        low, high = np.percentile(values, _TAILS, overwrite_input=True).astype(np.float32)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(
            f"{PERCENTILE} found the percentiles {low:g} and {high:g}: the image holds NaN or too many "
            f"infinite values. Replace them by numbers; verify lists all such images."
        )
    if low == high:
        channel[...] = 0
        return
    np.clip(channel, low, high, out=channel)
    if inside is not None:
        np.multiply(channel, inside, out=channel)
    _z_score(channel, inside, intensities)


def _ct(channel: Channel, inside: Inside, intensities: Mapping[str, float]) -> None:
    try:
        low, high = intensities["percentile_00_5"], intensities["percentile_99_5"]
        mean, spread = intensities["mean"], intensities["std"]
    except KeyError as missing:
        raise PlanError(
            f"CTNormalization needs the intensity {missing}. Extract the fingerprint again."
        ) from None
    np.clip(channel, low, high, out=channel)
    channel -= mean
    channel /= max(spread, _SMALLEST)


def _to_unit_range(channel: Channel, inside: Inside, intensities: Mapping[str, float]) -> None:
    channel -= channel.min()
    channel /= max(channel.max(), np.float32(_SMALLEST))


def _rgb(channel: Channel, inside: Inside, intensities: Mapping[str, float]) -> None:
    low, high = channel.min(), channel.max()
    if low < 0 or high > 255:
        raise DataError(
            f"RGBTo01Normalization expects values from 0 to 255, found {low:g} to {high:g}. Convert the "
            f"images to 8 bits, or rename the channel in dataset.json (rescale_to_0_1, zscore)."
        )
    channel /= np.float32(255)


def _none(channel: Channel, inside: Inside, intensities: Mapping[str, float]) -> None:
    return


SCHEMES: Mapping[str, Scheme] = {
    "ZScoreNormalization": _z_score,
    "CTNormalization": _ct,
    "RescaleTo01Normalization": _to_unit_range,
    "RGBTo01Normalization": _rgb,
    "NoNormalization": _none,
    PERCENTILE: _percentile_z_score,
}


def depends_on_intensities(scheme: str, intensities: Mapping[str, Any]) -> Mapping[str, Any]:
    """What of a channel's intensities changes its normalised values: nothing but for CT."""
    return intensities if scheme == "CTNormalization" else {}
