#!/usr/bin/env bash
# Guess:  nnU-Net's augmentation with Gaussian noise of `noise_variance=(0, 0.1)` adds noise whose variance is drawn from
#         0 to 0.1: on z-scored images a standard deviation of up to 0.32.
# Seen:   in nnU-Net 2.8.1 with batchgeneratorsv2 0.3.6 the number that is drawn is the standard deviation. Of 1,000 draws
#         of the trainer's own transform on an empty patch the variance is 0.0033 on the average, not 0.05, and 0.011 at
#         the most, not 0.1. A `noise_variance` of 0.1 gives a deviation of 0.100; so does batchgenerators 0.25.5, which
#         nnU-Net used before.
# So:     an augmentation that was rebuilt by the argument's name (such as MONAI's RandGaussianNoise with a deviation of
#         up to 0.32) adds noise of more than ten times the power: a comparison with nnU-Net then compares that too.
# Source: nnunetv2 2.8.1, batchgeneratorsv2 0.3.6, batchgenerators 0.25.5, torch 2.14.1, run on 2026-11-30.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "nnunetv2==2.8.1" "numpy==2.4.6" "torch==2.14.1" "acvl-utils==0.2.6" \
  "dynamic-network-architectures==0.4.4" "batchgenerators==0.25.5" "batchgeneratorsv2==0.3.6"
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON' | tail -n 2
import numpy as np
import torch
from batchgenerators.augmentations.noise_augmentations import augment_gaussian_noise
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

np.random.seed(0)
torch.manual_seed(0)
transforms = nnUNetTrainer.get_training_transforms(np.array((16, 16, 16)), (-0.5, 0.5), None, (0, 1, 2), False)
inner = [getattr(each, "transform", None) for each in transforms.transforms]
(trainers,) = [each for each in inner if isinstance(each, GaussianNoiseTransform)]
assert trainers.noise_variance == (0, 0.1)
patches = [trainers(image=torch.zeros((1, 16, 16, 16)))["image"] for _ in range(1000)]
variances = [float(patch.var()) for patch in patches]
print(f"variance of 1,000 draws from (0, 0.1): mean {np.mean(variances):.4f}, largest {np.max(variances):.4f}")

empty = np.zeros((1, 32, 32, 32), np.float32)
made = GaussianNoiseTransform(noise_variance=(0.1, 0.1))(image=torch.from_numpy(empty.copy()))["image"]
before = augment_gaussian_noise(empty.copy(), noise_variance=(0.1, 0.1))
print(f"deviation with a variance of 0.1: batchgeneratorsv2 {made.std():.3f}, batchgenerators {before.std():.3f}")
assert 0.003 < np.mean(variances) < 0.0037 and np.max(variances) < 0.012, "the variance is no longer as seen"
assert abs(float(made.std()) - 0.1) < 0.002 and abs(before.std() - 0.1) < 0.002, "the deviation is no longer as seen"
PYTHON
