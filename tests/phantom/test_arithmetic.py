"""The number of threads of a machine changes no pixel of a phantom."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from ichd.phantom.arithmetic import one_thread

#: Prints a digest of the same phantom for each number of threads.
RENDERED = """
import hashlib
from threadpoolctl import threadpool_limits
from ichd.phantom import PhantomRecipe, render

for threads in (1, 2, 3):
    with threadpool_limits(limits=threads, user_api="blas"):
        phantom = render(PhantomRecipe(seed=3, bleeds=("subdural",), slices=9, rows=160, voxel_mm=2.6))
    print(hashlib.sha256(phantom.hu_SHW.tobytes() + phantom.label_SHW.tobytes()).hexdigest())
"""


def threads() -> set[int]:
    """How many every BLAS of this process has."""
    return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


def test_one_thread_or_three_render_the_same_bytes() -> None:
    # The kernels for AVX-512 happen to round alike; those that most machines have don't.
    kernels = {"OPENBLAS_CORETYPE": "Haswell"} if " avx2 " in Path("/proc/cpuinfo").read_text() else {}
    done = subprocess.run(
        [sys.executable, "-c", RENDERED], env=os.environ | kernels, capture_output=True, text=True, check=True
    )
    digests = done.stdout.split()
    assert len(digests) == 3
    assert len(set(digests)) == 1


def test_who_is_done_first_leaves_the_other_one_alone() -> None:
    with threadpool_limits(limits=2, user_api="blas"):
        first, second = ExitStack(), ExitStack()
        first.enter_context(one_thread())
        second.enter_context(one_thread())
        assert threads() == {1}
        first.close()
        assert threads() == {1}
        second.close()
        assert threads() == {2}


def test_an_error_gives_the_threads_back() -> None:
    with threadpool_limits(limits=2, user_api="blas"):
        with pytest.raises(MemoryError), one_thread():
            raise MemoryError
        assert threads() == {2}
