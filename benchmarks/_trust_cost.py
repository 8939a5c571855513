"""What saying how good a prediction will be costs, in processor time of the prediction itself."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.data.dataset import Dataset
from autoseg.data.readers import read_images
from autoseg.inference.model import load_model
from autoseg.trust.assess import Assessor
from autoseg.trust.quality_model import FILE_NAME, QualityModel

CASES = 20
ROUNDS = 3


def cost_of(dataset: Dataset, model: Path) -> dict[str, Any]:
    """Processor seconds a case of one fold's network without and with quality, the least of some rounds.

    All folds together predict five times as long, for the same cost of the quality.
    """
    network = load_model(model, [0], "cpu")
    images = [read_images(case.images, dataset.reader) for case in dataset.cases[:CASES]]
    with tempfile.TemporaryDirectory() as place:
        assessor = Assessor(QualityModel.load(model / FILE_NAME), dataset.labels, Path(place))
        plain, assessed = [], []
        for number, image in enumerate(images):
            times: dict[bool, list[float]] = {False: [], True: []}
            for _ in range(ROUNDS):
                for quality in (False, True):
                    began = time.process_time()
                    if quality:
                        evidence = assessor.evidence()
                        assessor.add(str(number), image, network.segment_image(image, evidence), evidence)
                    else:
                        network.segment_image(image)
                    times[quality].append(time.process_time() - began)
            plain.append(min(times[False]))
            assessed.append(min(times[True]))
    return {
        "cases": len(images),
        "plain_s": float(np.mean(plain)),
        "assessed_s": float(np.mean(assessed)),
        "share_one_fold": float(np.mean(assessed) / np.mean(plain) - 1),
        "share_five_folds": float((np.mean(assessed) - np.mean(plain)) / (5 * np.mean(plain))),
    }
