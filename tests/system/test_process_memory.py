"""Each run's peak is its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from autoseg.system.process_memory import forget_peak, peak_bytes

CPU = torch.device("cpu")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux can forget a peak")
def test_what_was_given_back_does_not_count() -> None:
    forget_peak(CPU)
    before = peak_bytes(CPU)
    large = np.ones(300_000_000, np.uint8)
    assert peak_bytes(CPU) > before + 250_000_000
    del large
    forget_peak(CPU)
    assert peak_bytes(CPU) < before + 100_000_000


def test_a_process_does_not_count_what_started_it() -> None:
    large = np.ones(1_500_000_000, np.uint8)
    code = "import torch; from autoseg.system.process_memory import peak_bytes as peak"
    code += "; print(peak(torch.device('cpu')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < large.nbytes
