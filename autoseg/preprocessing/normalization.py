"""nnU-Net's intensity normalisations, in place and one channel at a time.

Sums are taken in float32 along the last axis and in float64 across the rest: as fast as float32 all the way,
and closer to the exact value than numpy's own float32 mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoseg.errors import DataError, PlanError

Channel = NDArray[np.float32]
Inside = NDArray[np.bool_] | None
Scheme = Callable[[Channel, Inside, Mapping[str, float]], None]

_SMALLEST = 1e-8  # nnU-Net's floor of every divisor


def normalize(scheme: str, channel: Channel, inside: Inside, intensities: Mapping[str, float]) -> None:
    """Normalise one channel in place.

    Args:
        scheme: nnU-Net's name of it.
        channel: (z, y, x), float32, contiguous; zero outside the nonzero region.
        inside: the nonzero region, if the plan normalises within it only (z-score alone does).
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
}


def depends_on_intensities(scheme: str, intensities: Mapping[str, Any]) -> Mapping[str, Any]:
    """What of a channel's intensities changes its normalised values: nothing but for CT."""
    return intensities if scheme == "CTNormalization" else {}
