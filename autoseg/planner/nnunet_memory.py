"""How much GPU memory a U-Net takes, estimated without building it.

nnU-Net measures a network by the number of values in all its feature maps of one sample
(compute_conv_feature_map_size of PlainConvUNet and ResidualEncoderUNet in dynamic_network_architectures
0.4) and compares that with a network whose memory is known. With channels f_s and v_s voxels at stage s of S
(s = 0: full resolution), the count is

    plain encoder      sum_s  blocks_s f_s v_s
    residual encoder   f_0 v_0  +  sum_s (2 blocks_s + 1[s > 0]) f_s v_s
    decoder            sum_{s < S-1} (convolutions + 1) f_s v_s  +  labels v_0

where the 1 of the residual encoder is the convolution on a stage's shortcut: it is there wherever strides
or channels change, which is at every stage but the first, and the 1 of the decoder is the transposed
convolution.
"""

from __future__ import annotations

import math

from autoseg.architectures import Topology
from autoseg.planner.presets import Preset


def features(preset: Preset, topology: Topology) -> tuple[int, ...]:
    """Channels of each stage: doubling from the first, up to the limit."""
    most = preset.most_features_2d if topology.dimensions == 2 else preset.most_features_3d
    return tuple(min(most, preset.base_features * 2**stage) for stage in range(topology.stages))


def feature_map_values(preset: Preset, topology: Topology, labels: int) -> int:
    """Values in all feature maps of one sample.

    Args:
        preset: says which network.
        topology: patch size and strides.
        labels: entries of dataset.json's labels, background and ignore label included.
    """
    voxels = _voxels(topology)
    stages = [f * v for f, v in zip(features(preset, topology), voxels, strict=True)]
    blocks = preset.encoder_blocks[: len(stages)]
    if preset.residual:
        convolutions = [2 * n + (stage > 0) for stage, n in enumerate(blocks)]
        convolutions[0] += 1  # the stem
    else:
        convolutions = list(blocks)
    encoder = sum(n * values for n, values in zip(convolutions, stages, strict=True))
    # Decoder stages are listed from the coarsest on; the coarsest encoder stage has no counterpart.
    per_stage = reversed(preset.decoder_convolutions[: len(stages) - 1])
    decoder = sum((n + 1) * values for n, values in zip(per_stage, stages[:-1], strict=True))
    # A network of one stage has no decoder, and with it no heads that would be counted.
    return encoder + decoder + (labels * voxels[0] if len(stages) > 1 else 0)


def reference_values(preset: Preset, dimensions: int, memory_gb: float) -> float:
    """Feature map values that fit the memory at the reference batch size; linear in the memory."""
    reference = preset.reference_2d if dimensions == 2 else preset.reference_3d
    return reference * (memory_gb / preset.memory_gb)


def reference_batch(preset: Preset, dimensions: int) -> int:
    """Samples of the network that the reference was measured on."""
    return preset.reference_batch_2d if dimensions == 2 else preset.reference_batch_3d


def is_too_large(preset: Preset, values: int, dimensions: int, memory_gb: float) -> bool:
    """Whether a patch has to shrink.

    The default planner asks whether the smallest batch fits. The residual planners ask whether the
    reference batch does, which in 2D is stricter.
    """
    reference = reference_values(preset, dimensions, memory_gb)
    if preset.residual:
        return values > reference
    return values / reference_batch(preset, dimensions) * preset.smallest_batch > reference


def _voxels(topology: Topology) -> list[int]:
    size, counts = list(topology.patch_size), []
    for strides in topology.strides:
        size = [n // stride for n, stride in zip(size, strides, strict=True)]
        counts.append(math.prod(size))
    return counts
