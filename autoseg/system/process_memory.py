"""Memory of this process: its peak, and from which size on the C library takes blocks from the system.

Blocks of a heap leave gaps that are not always filled again; a block from the system is given back at once,
for the price of fetching and clearing its pages anew. Measured on a network that computes activations again
in the backward pass (mednext_l in 2D, 448 x 256, 62 million weights): 4.2 GB after ten steps with the
library's usual size, 3.5 GB with 4 MiB. On networks that do not, a step with 4 MiB takes 5 to 7 % longer and
the gaps are some percent of the whole, so that they keep the usual size.

Whoever sets that size loses the other half of the library's own rule, and the heap then gives its upper end
back whenever 128 KiB of it are free: a step of nnunet (40x56x40, batch 5, bf16) fetched 30,000 pages of 4 KiB
anew and took 5 to 9 % longer for it, with the same peak. So the heap keeps what it has.
"""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# The largest size that glibc comes to by itself (DEFAULT_MMAP_THRESHOLD_MAX), and does where blocks vary.
USUAL = 32 * 2**20
SMALLER = 4 * 2**20
# glibc's names in malloc.h: the size, and how much may be free at the upper end of the heap.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1
_NEVER = 2**31 - 1
_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def take_from_system(at_least: int) -> bool:
    """Let blocks of that many bytes and more come from the system, in this process from now on.

    Smaller ones come from a heap that keeps what was freed, for the next step.

    Returns:
        Whether the C library has such a setting; other libraries than glibc decide for themselves.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(_M_MMAP_THRESHOLD, at_least) and library.mallopt(_M_TRIM_THRESHOLD, _NEVER))


def forget_peak(device: torch.device) -> None:
    """Begin anew, so that what ran before in this process does not count.

    Where the system cannot forget (no Linux), the peak is that of the process so far.
    """
    if device.type == "cuda":
        import torch

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
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    try:
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
