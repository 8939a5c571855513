"""The largest memory that something took: of the device or, on the CPU, of this process."""

from __future__ import annotations

from pathlib import Path

import torch

_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def forget_peak(device: torch.device) -> None:
    """Begin anew, so that what ran before in this process does not count.

    Where the system cannot forget (no Linux), the peak is that of the process so far.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        # proc(5): 5 sets the peak resident set size to the current one.
        _FORGET.write_text("5", encoding="ascii")
    except OSError:
        return


def peak_bytes(device: torch.device) -> int:
    """The largest memory since `forget_peak`."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
