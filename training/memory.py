"""How the C library deals with large blocks."""

import ctypes


def keep_freed_memory() -> None:
    """Let glibc reuse large blocks: returning and faulting in each 6 MB temporary takes most of augmentation's time."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    trim_threshold, mmap_threshold, maximum = -1, -3, 1 << 30
    mallopt(mmap_threshold, maximum)
    mallopt(trim_threshold, maximum)
