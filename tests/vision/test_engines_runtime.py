"""A process that uses OpenVINO still gets its signals. Each case has a process of its own: the mistake kills it."""

import subprocess
import sys

import pytest

#: Two runtimes end in the order in which they began, as the garbage collector may have it.
_IN_ANY_ORDER = """
import os, signal
import openvino as ov
from ichd.vision.engines.runtime import CPU_PLUGIN, signal_stack_kept

def runtime():
    core = ov.Core()
    core.get_property(CPU_PLUGIN, "FULL_DEVICE_NAME")
    return core

with signal_stack_kept():
    first, second = runtime(), runtime()
    del first
    del second
signal.signal(signal.SIGTERM, lambda *_: print("heard"))
os.kill(os.getpid(), signal.SIGTERM)
"""


def run(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("options", [(), ("-X", "faulthandler")], ids=["no stack", "faulthandler's stack"])
def test_a_signal_is_heard_after_runtimes_ended_in_any_order(options: tuple[str, ...]) -> None:
    done = run(_IN_ANY_ORDER, *options)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="OpenVINO replaces the signal stack on Linux alone")
def test_our_runtime_leaves_no_stack_behind() -> None:
    code = """
import ctypes
from ichd.vision.engines.runtime import _StackT, openvino_core
openvino_core()
now = _StackT()
ctypes.CDLL(None).sigaltstack(None, ctypes.byref(now))
print("none" if now.ss_flags == 2 else now.ss_size)
"""
    done = run(code)
    assert (done.returncode, done.stdout) == (0, "none\n"), done.stderr
