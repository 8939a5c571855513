"""How stock nnU-Net learns of the normalisation that it does not have.

nnU-Net looks a normalisation up by its name in modules of its own, in the process that preprocesses: with
`nnUNetv2_predict` a spawned one, which knows nothing of autoseg. But the parent asks the trainer for its
network first, with the configuration that it then sends to the workers. There the scheme is put where nnU-Net
looks, and its name in the configuration becomes an equal string that does the same wherever it is unpickled.

Where no trainer of autoseg takes part, nnU-Net stops with "Unable to locate class
'PercentileZScoreNormalization' for normalization": in `nnUNetv2_preprocess`, `nnUNetv2_plan_and_preprocess`
and with a model of one of its own trainers. Let autoseg preprocess such a plan, as its training does by
itself, or choose ``normalization=nnunet``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from nnunetv2.preprocessing.normalization import default_normalization_schemes
from nnunetv2.preprocessing.normalization.default_normalization_schemes import ImageNormalization
from numpy.typing import NDArray

from autoseg.errors import PlanError
from autoseg.planner.configuration import PERCENTILE
from autoseg.preprocessing.normalization import normalize


class PercentileZScoreNormalization(ImageNormalization):  # type: ignore[misc]
    """Percentile clipping and z-score inside the foreground, behind nnU-Net's interface.

    With `use_mask_for_norm` the foreground is where the segmentation is not negative, as nnU-Net's z-score
    has it; otherwise every voxel is.
    """

    leaves_pixels_outside_mask_at_zero_if_use_mask_for_norm_is_true = True

    def run(self, image: NDArray[Any], seg: NDArray[Any] | None = None) -> NDArray[Any]:
        """The normalised channel; `image` and `seg` are (z, y, x), and left as they are.

        Raises:
            DataError: if the image holds NaN.
            PlanError: if the plan asks for the nonzero region and there is no segmentation to tell it.
        """
        inside = None
        if self.use_mask_for_norm:
            if seg is None:
                raise PlanError(
                    f"{PERCENTILE} inside the nonzero region needs a segmentation that is -1 outside of it, "
                    f"and there is none. Crop the image with crop_to_nonzero, which makes one."
                )
            inside = seg >= 0
        channel = np.array(image, dtype=np.float32, order="C")
        normalize(PERCENTILE, channel, inside, {})
        return channel.astype(self.target_dtype, copy=False)


class RegisteringName(str):
    """The name of a scheme, which registers it in every process that it is unpickled in."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Callable[[str], RegisteringName], tuple[str]]:
        return registered, (str(self),)


def registered(name: str) -> RegisteringName:
    """Put the scheme where nnU-Net looks for it. Returns its name."""
    setattr(default_normalization_schemes, PERCENTILE, PercentileZScoreNormalization)
    return RegisteringName(name)


def make_known(configuration_manager: Any) -> None:
    """Let nnU-Net find the normalisations of a configuration, here and wherever it is sent.

    Args:
        configuration_manager: nnU-Net's; changed in place if it names a scheme of autoseg. The plan that it
            is from holds a copy and is left alone, so that checkpoints and files hold plain strings.
    """
    entry = configuration_manager.configuration
    schemes = entry.get("normalization_schemes", ())
    if PERCENTILE in schemes:
        entry["normalization_schemes"] = [registered(s) if s == PERCENTILE else s for s in schemes]
