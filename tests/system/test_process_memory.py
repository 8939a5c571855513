"""Each run's peak is its own."""

from __future__ import annotations

import platform
import resource
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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
def test_what_was_freed_is_kept_for_the_next_step() -> None:
    """Blocks of 8 MB, one after the other: their pages are fetched once and not for each."""
    code = (
        "import resource, numpy as np\n"
        "from autoseg.system.process_memory import USUAL, take_from_system\n"
        "assert take_from_system(USUAL)\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "np.ones(8_000_000, np.uint8)\n"
        "before = faults()\n"
        "for _ in range(100): np.ones(8_000_000, np.uint8)\n"
        "print(faults() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 10 * 8_000_000 / resource.getpagesize()
