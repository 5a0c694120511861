"""Process 1 of a container: says when its role is ready, ends one that hangs, passes signals on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.deploy.tools import DEPLOY

WATCH = DEPLOY / "container" / "watch.py"
#: For what happens in a moment on a machine that has nothing else to do.
PATIENCE_S = 60

#: A role that says what its arguments are, one after the other: words to the watcher, or seconds of silence.
ROLE = """
import os, signal, socket, sys, time
assert os.environ["WATCHDOG_USEC"].isdecimal()
speaking = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
def say(word):
    speaking.sendto(word.encode(), os.environ["NOTIFY_SOCKET"])
def stop(number, frame):
    say("STOPPING=1")
    sys.exit(7)
signal.signal(signal.SIGTERM, stop)
for word in sys.argv[1:]:
    say(word) if "=" in word else time.sleep(float(word))
"""


@contextmanager
def watched(folder: Path, *words: str, watchdog_s: float = 60) -> Iterator[subprocess.Popen[str]]:
    variables = os.environ | {"WATCH_FOLDER": str(folder), "WATCH_SECONDS": str(watchdog_s)}
    process = subprocess.Popen(
        [sys.executable, str(WATCH), sys.executable, "-c", ROLE, *words],
        env=variables,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        # In a container the death of process 1 ends the rest; here its whole group has to be named.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_role_is_ready_when_it_says_so_and_no_longer_when_it_stops(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    with watched(tmp_path, "READY=1\nSTATUS=reads", "600") as process:
        wait_until(ready.exists)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 7, "its exit code is the role's"
    assert not ready.exists()


def test_a_role_that_is_silent_is_killed(tmp_path: Path) -> None:
    with watched(tmp_path, "READY=1", "600", watchdog_s=0.5) as process:
        assert process.wait(PATIENCE_S) == 70
        assert process.stderr is not None
        assert "no sign of life" in process.stderr.read()
    assert not (tmp_path / "ready").exists()


def test_a_role_that_gives_signs_of_life_outlives_the_watchdog(tmp_path: Path) -> None:
    signs = [word for _ in range(30) for word in ("WATCHDOG=1", "0.2")]
    with watched(tmp_path, "READY=1", *signs, watchdog_s=3) as process:
        assert process.wait(PATIENCE_S) == 0


def test_a_role_that_never_gets_ready_is_killed_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCH_START_SECONDS", "0.5")
    with watched(tmp_path, "WATCHDOG=1", "600") as process:
        assert process.wait(PATIENCE_S) == 70


def test_what_a_container_before_left_behind_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "ready").touch()
    (tmp_path / "notify").touch()
    with watched(tmp_path, "600"):
        wait_until(lambda: not (tmp_path / "ready").exists())


def test_a_role_that_a_signal_ended_says_which(tmp_path: Path) -> None:
    variables = os.environ | {"WATCH_FOLDER": str(tmp_path)}
    suicide = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, str(WATCH), sys.executable, "-c", suicide], env=variables, check=False)
    assert done.returncode == 128 + signal.SIGKILL


def test_no_role_is_a_mistake_that_is_named() -> None:
    done = subprocess.run([sys.executable, str(WATCH)], capture_output=True, text=True, check=False)
    assert (done.returncode, "name the role" in done.stderr) == (2, True)
