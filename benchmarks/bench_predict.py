"""Prediction beside nnU-Net's: the sliding window, and the way back to the raw grid.

    OMP_NUM_THREADS=1 python benchmarks/bench_predict.py

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
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from _machine import machine, write_results
from torch import Tensor, nn

from autoseg.data.dataset import Labels
from autoseg.inference.sliding_window import predict_logits, predict_slabs
from autoseg.preprocessing.restore import restore_slabs

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


def stock_window(
    network: nn.Module, image: Tensor, patch_size: Sequence[int], axes: Sequence[int], heads: int = 3
) -> Tensor:
    """Logits by nnU-Net's predictor."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    with contextlib.redirect_stdout(io.StringIO()):  # it announces that a CPU is no GPU
        predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.network = network
    predictor.configuration_manager = SimpleNamespace(patch_size=list(patch_size))
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=heads)
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


def restorers(shape: Sequence[int], new_shape: Sequence[int], heads: int) -> dict[str, Callable[..., Any]]:
    """Both ways from logits on one grid (autoseg's from slabs of them) to a segmentation on a finer one."""
    from nnunetv2.inference.export_prediction import (
        convert_predicted_logits_to_segmentation_with_correct_shape as convert,
    )
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    properties = {
        "spacing": [1.0, 1.0, 1.0],
        "shape_after_cropping_and_before_resampling": new_shape,
        "shape_before_cropping": new_shape,
        "bbox_used_for_cropping": [[0, n] for n in new_shape],
    }
    spacing = [new / old for old, new in zip(shape, new_shape, strict=True)]
    name = "resample_data_or_seg_to_shape"
    resampling = {"resampling_fn_probabilities": name, "resampling_fn_probabilities_kwargs": OPTIONS}
    ours_configuration: Any = SimpleNamespace(spacing=spacing, resampling=resampling)
    ours_plan: Any = SimpleNamespace(transpose=(0, 1, 2), transpose_backward=(0, 1, 2))
    configuration = SimpleNamespace(
        spacing=spacing,
        resampling_fn_probabilities=lambda *args: resample_data_or_seg_to_shape(*args, **OPTIONS),
    )
    plan = SimpleNamespace(transpose_forward=[0, 1, 2], transpose_backward=[0, 1, 2])
    names = {"background": 0} | {f"organ {n}": n for n in range(1, heads)}
    manager = LabelManager(names, None)

    def autoseg(slabs: Iterable[Tensor]) -> Any:
        return restore_slabs(
            (slab.numpy() for slab in slabs), shape, properties, ours_plan, ours_configuration, Labels(names)
        )

    def stock(logits: Tensor) -> Any:
        return convert(logits, plan, configuration, manager, properties, num_threads_torch=1)

    return {"stock": stock, "autoseg": autoseg}


def bench_restore(repeats: int) -> Iterator[Row]:
    """Logits of 3 and of 40 heads from 1.5 mm to 1 mm."""
    shape, new_shape = (64, 80, 72), (96, 120, 108)
    for heads in (3, 40):
        logits = organs(heads, shape)
        sides = restorers(shape, new_shape, heads)

        def ours(logits=logits, sides=sides):  # type: ignore[no-untyped-def]
            return sides["autoseg"]([logits])

        def stock(logits=logits, sides=sides):  # type: ignore[no-untyped-def]
            return sides["stock"](logits)

        row = compare(f"restore {heads} heads, {shape} to {new_shape}", stock, ours, repeats)
        row["voxels_equal"] = float((ours() == stock()).mean())
        row["stock_peak_MiB"], row["autoseg_peak_MiB"] = peak_mib(stock), peak_mib(ours)
        yield row


# A body at 2 mm with 14 organs, to be segmented at 1.5 mm: logits of 0.96 GB, and 2.3 GB on the raw grid.
BODY, RAW_BODY, BODY_HEADS = (320, 224, 224), (427, 299, 299), 15


def bench_memory() -> Iterator[Row]:
    """What a large case with many classes takes from image to segmentation, each side in its own process."""
    sides = {}
    with tempfile.TemporaryDirectory() as folder:
        for side in ("stock", "autoseg"):
            result = Path(folder) / f"{side}.npy"
            done = subprocess.run(
                [sys.executable, __file__, "--one", side, str(result)], stdout=subprocess.PIPE, check=True
            )
            sides[side] = json.loads(done.stdout.splitlines()[-1])
            sides[side]["segmentation"] = np.load(result)
    stock, autoseg = sides["stock"], sides["autoseg"]
    yield {
        "name": f"peak memory, {BODY_HEADS} heads, {BODY} to {RAW_BODY}",
        "stock_peak_MiB": stock["peak_MiB"],
        "autoseg_peak_MiB": autoseg["peak_MiB"],
        "ratio": stock["peak_MiB"] / autoseg["peak_MiB"],
        "stock_cpu_s": stock["cpu_s"],
        "autoseg_cpu_s": autoseg["cpu_s"],
        "voxels_equal": float((stock["segmentation"] == autoseg["segmentation"]).mean()),
    }


def predict_body(side: str, result: Path) -> Row:
    """Peak resident set above what is there when the image is read; in a process of its own."""
    from autoseg.system.process_memory import forget_peak, peak_bytes

    network, patch = u_net(3, 8, BODY_HEADS), (64, 64, 64)
    image = torch.randn(1, *BODY)
    segment = restorers(BODY, RAW_BODY, BODY_HEADS)[side]
    with torch.no_grad():
        network(image[None, :, :64, :64, :64])
    forget_peak(torch.device("cpu"))
    before, began = peak_bytes(torch.device("cpu")), time.process_time()
    if side == "stock":
        segmentation = segment(stock_window(network, image, patch, (), BODY_HEADS))
    else:
        segmentation = segment(predict_slabs([network], image, patch))
    seconds, peak = time.process_time() - began, peak_bytes(torch.device("cpu"))
    np.save(result, segmentation)
    return {"peak_MiB": (peak - before) / 2**20, "cpu_s": seconds}


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
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(predict_body(arguments.one[0], Path(arguments.one[1]))))
        return
    where = machine(packages=("torch", "nnunetv2"))
    rows = []
    for row in itertools.chain(
        bench_memory(), bench_restore(arguments.repeats), bench_window(arguments.repeats)
    ):
        rows.append({key: round(each, 4) if isinstance(each, float) else each for key, each in row.items()})
        print(rows[-1], flush=True)
    write_results("predict", where, rows, report(rows))


def report(rows: Sequence[Row]) -> str:
    """The table."""
    lines = [
        "# Prediction beside nnU-Net's",
        "",
        "The same random network and synthetic data for both; the ratio is nnU-Net's by autoseg's. In the",
        "first row it is that of the peak resident set, above the image and the network, from the image to",
        "the segmentation on the raw grid; in all others that of CPU seconds.",
        "",
        "| what | nnU-Net | autoseg | ratio | peak MiB: nnU-Net | autoseg | voxels equal |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        peaks = [f"{row[key]:.0f}" if key in row else "" for key in ("stock_peak_MiB", "autoseg_peak_MiB")]
        seconds = [f"{row[key]:.2f} s" for key in ("stock_cpu_s", "autoseg_cpu_s")]
        cells = [row["name"], *seconds, f"{row['ratio']:.2f}", *peaks, f"{row['voxels_equal']:.4%}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
