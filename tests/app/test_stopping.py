"""Signals that come at the worst moment."""

import subprocess
import sys

import pytest

#: The main thread holds the lock of the event, as it does for an instant in each `wait`, when the signal arrives.
_AT_THE_WORST_MOMENT = """
import signal, sys, threading
from ichd.app.stopping import stop_on_signals
stop = threading.Event()
stop_on_signals(stop)
with stop._cond:
    signal.raise_signal(signal.Signals[sys.argv[1]])
sys.exit(0 if stop.wait(20) else 3)
"""


@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGINT"])
def test_a_signal_is_obeyed_whatever_the_main_thread_is_doing(signal_name: str) -> None:
    done = subprocess.run([sys.executable, "-c", _AT_THE_WORST_MOMENT, signal_name], timeout=60, check=False)
    assert done.returncode == 0
