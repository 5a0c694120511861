"""OpenVINO's runtime, one for the whole process, and a guard against what it does to signals."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import openvino as ov

#: OpenVINO's name of the processor.
CPU_PLUGIN = "CPU"


@lru_cache(maxsize=1)
def openvino_core() -> ov.Core:
    """The runtime, its CPU plugin loaded."""
    with signal_stack_kept():
        core = ov.Core()
        # The plugin is loaded, and replaces the signal stack, when it is first asked for something.
        core.get_property(CPU_PLUGIN, "FULL_DEVICE_NAME")
    return core


@contextmanager
def signal_stack_kept() -> Iterator[None]:
    """This thread's alternate signal stack is afterwards what it was before.

    Each CPU plugin of OpenVINO maps a stack of its own, puts it in the place of the last one and unmaps it at its end.
    Of two plugins that don't end in reverse order the later restores the stack of the earlier, which is gone. The next
    signal that Python handles (SIGTERM, SIGCHLD) then kills the process, or writes over whatever lies there by now.
    """
    if sys.platform != "linux":
        yield
        return
    sigaltstack = ctypes.CDLL(None, use_errno=True).sigaltstack
    before = _StackT()
    sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        if sigaltstack(ctypes.byref(before), None) != 0:
            raise OSError(ctypes.get_errno(), "the alternate signal stack can't be put back")


class _StackT(ctypes.Structure):
    """`stack_t` of sigaltstack(2) on Linux."""

    _fields_ = [("ss_sp", ctypes.c_void_p), ("ss_flags", ctypes.c_int), ("ss_size", ctypes.c_size_t)]
