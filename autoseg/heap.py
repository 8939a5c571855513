"""From which size on the C library takes blocks from the system, and not from its heap.

Blocks of a heap leave gaps that are not always filled again; a block from the system is given back at once,
for the price of fetching and clearing its pages anew. Measured on a network that computes activations again
in the backward pass (mednext_l in 2D, 448 x 256, 62 million weights): 4.2 GB after ten steps with the
library's usual size, 3.5 GB with 4 MiB. On networks that do not, a step with 4 MiB takes 5 to 7 % longer and
the gaps are some percent of the whole, so that they keep the usual size.
"""

from __future__ import annotations

import ctypes
import platform

# The largest size that glibc comes to by itself (DEFAULT_MMAP_THRESHOLD_MAX), and does where blocks vary.
USUAL = 32 * 2**20
SMALLER = 4 * 2**20
# glibc's name for the size, in malloc.h.
_M_MMAP_THRESHOLD = -3


def take_from_system(at_least: int) -> bool:
    """Let blocks of that many bytes and more come from the system, in this process from now on.

    Returns:
        Whether the C library can be told so; other libraries than glibc decide for themselves.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, at_least))
