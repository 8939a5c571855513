"""Prediction beside nnU-Net's: the sliding window, and the way back to the raw grid.

    OMP_NUM_THREADS=1 python benchmarks/bench_predict.py --output benchmarks/results/predict.json

Both sides get the same random network and the same synthetic data, take turns, and must agree before a time
counts. A ratio above 1 is in favour of autoseg.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import itertools
import json
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autoseg.dataset import Labels
from autoseg.restore import restore_segmentation
from autoseg.sliding_window import predict_logits

Row = dict[str, Any]
OPTIONS = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}


def u_net(dimensions: int, base: int, heads: int) -> nn.Module:
    """nnU-Net's plain U-Net with four stages."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    torch.manual_seed(0)
    network = PlainConvUNet(
        1,
        4,
        [base * 2**stage for stage in range(4)],
        nn.Conv3d if dimensions == 3 else nn.Conv2d,
        3,
        [1, 2, 2, 2],
        2,
        heads,
        2,
        conv_bias=True,
        norm_op=nn.InstanceNorm3d if dimensions == 3 else nn.InstanceNorm2d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )
    return network.eval()


def stock_window(network: nn.Module, image: Tensor, patch_size: Sequence[int], axes: Sequence[int]) -> Tensor:
    """Logits by nnU-Net's predictor."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    with contextlib.redirect_stdout(io.StringIO()):  # it announces that a CPU is no GPU
        predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.network = network
    predictor.configuration_manager = SimpleNamespace(patch_size=list(patch_size))
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=3)
    predictor.allowed_mirroring_axes = tuple(axes) or None
    predictor.use_mirroring = bool(axes)
    return predictor.predict_sliding_window_return_logits(image)


def bench_window(repeats: int) -> Iterator[Row]:
    """Mirrored prediction of one image, 3D and 2D, in float32 and bfloat16."""
    for patch_size, shape in (((40, 56, 40), (40, 56, 50)), ((128, 128), (2, 170, 150))):
        network, image = u_net(len(patch_size), 16, 3), torch.randn(1, *shape)
        axes = tuple(range(len(patch_size)))
        for dtype in (torch.float32, torch.bfloat16):

            def ours(network=network, image=image, patch=patch_size, axes=axes, dtype=dtype):  # type: ignore[no-untyped-def]
                return predict_logits(network, image, patch, mirror_axes=axes, dtype=dtype)

            def stock(network=network, image=image, patch=patch_size, axes=axes):  # type: ignore[no-untyped-def]
                return stock_window(network, image, patch, axes)

            agreement = float((ours().argmax(0) == stock().argmax(0)).float().mean())
            name = (
                f"sliding window {len(patch_size)}D, patch {patch_size}, {str(dtype).removeprefix('torch.')}"
            )
            yield compare(name, stock, ours, repeats) | {"voxels_equal": agreement}


def organs(heads: int, shape: Sequence[int]) -> Tensor:
    """Logits of a background and as many balls as there are other heads."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij"))
    logits = rng.normal(scale=0.1, size=(heads, *shape)).astype(np.float32)
    for channel in logits[1:]:
        centre = rng.uniform(0.2, 0.8, (3, 1, 1, 1))
        channel += 8 - 60 * np.sqrt(((grid - centre) ** 2).sum(0))
    return torch.from_numpy(logits)


def bench_restore(repeats: int) -> Iterator[Row]:
    """Logits of 3 and of 40 heads from 1.5 mm to 1 mm."""
    from nnunetv2.inference.export_prediction import (
        convert_predicted_logits_to_segmentation_with_correct_shape as convert,
    )
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    shape, new_shape = (64, 80, 72), (96, 120, 108)
    properties = {
        "spacing": [1.0, 1.0, 1.0],
        "shape_after_cropping_and_before_resampling": new_shape,
        "shape_before_cropping": new_shape,
        "bbox_used_for_cropping": [[0, n] for n in new_shape],
    }
    name = "resample_data_or_seg_to_shape"
    resampling = {"resampling_fn_probabilities": name, "resampling_fn_probabilities_kwargs": OPTIONS}
    ours_configuration: Any = SimpleNamespace(spacing=(1.5,) * 3, resampling=resampling)
    ours_plan: Any = SimpleNamespace(transpose=(0, 1, 2), transpose_backward=(0, 1, 2))
    configuration = SimpleNamespace(
        spacing=[1.5] * 3,
        resampling_fn_probabilities=lambda *args: resample_data_or_seg_to_shape(*args, **OPTIONS),
    )
    plan = SimpleNamespace(transpose_forward=[0, 1, 2], transpose_backward=[0, 1, 2])
    for heads in (3, 40):
        names = {"background": 0} | {f"organ {n}": n for n in range(1, heads)}
        logits, manager = organs(heads, shape), LabelManager(names, None)

        def ours(logits=logits, names=names):  # type: ignore[no-untyped-def]
            return restore_segmentation(logits, properties, ours_plan, ours_configuration, Labels(names))

        def stock(logits=logits, manager=manager):  # type: ignore[no-untyped-def]
            return convert(logits, plan, configuration, manager, properties, num_threads_torch=1)

        row = compare(f"restore {heads} heads, {shape} to {new_shape}", stock, ours, repeats)
        row["voxels_equal"] = float((ours() == stock()).mean())
        row["stock_peak_MiB"], row["autoseg_peak_MiB"] = peak_mib(stock), peak_mib(ours)
        yield row


def compare(name: str, stock: Callable[[], Any], ours: Callable[[], Any], repeats: int) -> Row:
    """Medians of both, taking turns, after one warm-up each.

    CPU seconds of this process: what else the machine does disturbs them less than the time on the clock.
    """
    times: dict[str, list[float]] = {"stock": [], "autoseg": []}
    for turn in range(repeats + 1):
        for side, call in (("stock", stock), ("autoseg", ours)):
            began = time.process_time()
            call()
            if turn:
                times[side].append(time.process_time() - began)
    medians = {side: float(np.median(values)) for side, values in times.items()}
    ratio = medians["stock"] / medians["autoseg"]
    return {
        "name": name,
        "stock_cpu_s": medians["stock"],
        "autoseg_cpu_s": medians["autoseg"],
        "ratio": ratio,
    }


def peak_mib(call: Callable[[], Any]) -> float:
    """Most memory that numpy held during a call, MiB."""
    gc.collect()
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def main() -> None:
    """Run, print and, if asked, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows = []
    for row in itertools.chain(bench_restore(arguments.repeats), bench_window(arguments.repeats)):
        rows.append({key: round(each, 4) if isinstance(each, float) else each for key, each in row.items()})
        print(rows[-1], flush=True)
    if arguments.output:
        document = {"threads": torch.get_num_threads(), "torch": torch.__version__, "rows": rows}
        arguments.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
