"""``python -m autoseg.bundle BUNDLE INPUT OUTPUT``: segment images without torch."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from autoseg.bundle.folder import Request, segment_folder
from autoseg.bundle.segment import Segmenter
from autoseg.data.dicom_objects.result import FORMS, Form
from autoseg.data.dicom_objects.segmentation import KINDS
from autoseg.errors import AutosegError


def main(arguments: Sequence[str] | None = None, bundle: Path | None = None) -> int:
    """Run the command line; 0 if every case was segmented.

    Args:
        arguments: arguments of the command line; the process's own if None.
        bundle: the bundle, where the command line does not name it.
    """
    parser = argparse.ArgumentParser(
        prog="run.py" if bundle else "python -m autoseg.bundle",
        description="Segment images with a bundle, on the processor.",
    )
    if bundle is None:
        parser.add_argument("bundle", type=Path, help="a folder or a zip, as autoseg export wrote it")
        # Not in a bundle's own program, which could be a forged one.
        parser.add_argument("--verify-key", type=Path, help="public key that has to have signed the bundle")
    parser.add_argument("input", type=Path, help="images named CASE_0000.ending, or DICOM: a folder or file")
    parser.add_argument("output", type=Path, help="a folder for the segmentations")
    parser.add_argument("--no-mirroring", action="store_true", help="do not average over mirrored copies")
    parser.add_argument("--no-postprocessing", action="store_true", help="leave what the network makes")
    parser.add_argument("--step-size", type=float, help="of the sliding window, in patches")
    parser.add_argument("--threads", type=int, default=0, help="one for each core by default")
    parser.add_argument("--to", choices=FORMS, default=FORMS[0], help="what DICOM series become")
    parser.add_argument("--seg-type", choices=KINDS, default=KINDS[0], help="of dicom-seg")
    parser.add_argument("--resample", action="store_true", help="interpolate uneven DICOM series")
    parser.add_argument("--overwrite", action="store_true", help="replace segmentations that are there")
    parser.add_argument("--no-quality", action="store_true", help="do not say how good each will be")
    given = parser.parse_args(arguments)
    if given.step_size is not None and not 0.1 <= given.step_size <= 1:
        parser.error(f"the step size is {given.step_size}; choose one from 0.1 to 1")
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    try:
        if bundle is None and given.verify_key is not None:
            from autoseg.bundle.signature import check_signature

            check_signature(given.bundle, given.verify_key)
        segmenter = Segmenter.load(
            bundle or given.bundle,
            threads=given.threads,
            mirroring=not given.no_mirroring,
            step_size=given.step_size,
            postprocessing=not given.no_postprocessing,
        )
        _, left_out = segment_folder(
            segmenter,
            given.input,
            given.output,
            Request(
                overwrite=given.overwrite,
                quality=not given.no_quality,
                form=Form(given.to, given.seg_type),
                mend=given.resample,
            ),
            _tell,
        )
    except AutosegError as error:
        sys.stderr.write(f"autoseg: {error}\n")
        return error.exit_status
    return 1 if left_out else 0


def _tell(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
