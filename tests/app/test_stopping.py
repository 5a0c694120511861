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


#: The main thread is inside something long when the signal arrives; then once more after the block.
_WHILE_STARTING = """
import signal, sys, threading, time
from ichd.app.stopping import ended_at_once, stop_on_signals
stop = threading.Event()
stop_on_signals(stop)
with ended_at_once(stop, lambda: print("tidied", flush=True)):
    if sys.argv[1] == "within":
        signal.raise_signal(signal.SIGTERM)
        time.sleep(600)
signal.raise_signal(signal.SIGTERM)
stop.wait()
time.sleep(1)
print("went on", flush=True)
"""


@pytest.mark.parametrize(("when", "said"), [("within", {"tidied"}), ("after", {"went on"})])
def test_a_start_is_given_up_at_once_and_what_follows_it_is_not(when: str, said: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WHILE_STARTING, when], timeout=120, check=False, stdout=subprocess.PIPE, text=True
    )
    assert done.returncode == 0
    assert {"tidied", "went on"} & set(done.stdout.splitlines()) == said
