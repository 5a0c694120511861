"""Matrix products that are rounded the same, however many threads a machine has.

Where several threads share a product, each takes another piece of it, and kernels for other pieces add in another
order: pixels that lie halfway between two values then fall to either side.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


class _OneThread:
    """BLAS with one thread, as long as anybody is inside.

    Its number of threads is the process's: of two that render at the same time the first one to end must not give
    the other one more of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._limit: threadpool_limits | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Inside the block, and in other threads meanwhile, products are not shared out."""
        with self._lock:
            if not self._inside:
                # BLAS alone: who reads images beside has threads of another kind, and keeps them.
                self._limit = threadpool_limits(limits=1, user_api="blas")
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside and self._limit is not None:
                    self._limit.restore_original_limits()


one_thread = _OneThread()
