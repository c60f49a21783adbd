"""Memory of the process: what glibc would keep for itself, and what Python's collector need not look at.

Without the first the process stays as large as it ever was. uvloop takes 256 KiB for each TLS connection
and uses a few pages of them. As a mapping of its own such a block costs no more; from the heap it is made of
pages that were in use before, and leaves them behind. After twelve times 300 clients a server of 67 MiB had
153.
"""

import ctypes
import gc

__all__ = ["give_back", "keep_for_good", "keep_little"]

# Of malloc.h. glibc raises the threshold with the first answer of the broker that it frees.
M_MMAP_THRESHOLD, MAPPED = -3, 128 * 1024

# New objects before the collector looks for cycles: a sample of 1,200 filters makes 2,500, in no cycle.
YOUNG = 10_000

_malloc = ctypes.CDLL(None)


def keep_little() -> None:
    """Take blocks of MAPPED bytes or more as mappings. Nothing where the C library is another."""
    if hasattr(_malloc, "mallopt"):
        _malloc.mallopt(M_MMAP_THRESHOLD, MAPPED)


def give_back() -> None:
    """Give free pages of the heap back to the system: a fifth of a millisecond when there are none."""
    if hasattr(_malloc, "malloc_trim"):
        _malloc.malloc_trim(0)


def keep_for_good() -> None:
    """Take what is there now, modules above all, for immortal: a walk over it stops all answers for 60 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)
