"""What is said to a watcher, on a real datagram socket: ready, stopping, and alive only while there is life."""

import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ichd.app.ear import Ear
from ichd.app.notify import NOBODY, Watcher


@pytest.fixture(params=["path", "abstract"])
def ears(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """An address as the environment has it, and the socket behind it."""
    name = f"@ichd-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0", 1))
        listening.settimeout(20)
        yield name, listening


def test_each_word_is_a_datagram_of_assignments(ears: tuple[str, socket.socket]) -> None:
    address, listening = ears
    watcher = Watcher(address=address)
    watcher.ready("takes images")
    watcher.status("busy")
    watcher.beat()
    watcher.stopping()
    heard = [listening.recv(4096).decode() for _ in range(4)]
    assert heard == ["READY=1\nSTATUS=takes images", "STATUS=busy", "WATCHDOG=1", "STOPPING=1"]


def test_life_is_signalled_only_while_there_is_some(ears: tuple[str, socket.socket]) -> None:
    address, listening = ears
    asked = threading.Semaphore(0)
    alive = [True, True, False]

    def is_well() -> bool:
        asked.release()
        return alive.pop(0) if alive else False

    Watcher(address=address, watchdog_s=0.05).watch(is_well)
    for _ in range(6):
        assert asked.acquire(timeout=20)
    assert [listening.recv(64) for _ in range(2)] == [b"WATCHDOG=1"] * 2
    listening.setblocking(False)
    with pytest.raises(BlockingIOError):
        listening.recv(64)


@pytest.mark.parametrize(
    ("given", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_environment_says_who_watches_and_is_not_handed_on(given: dict[str, str], watchdog_s: float | None) -> None:
    environment = {"NOTIFY_SOCKET": "/run/notify", "HOME": "/root", **given}
    assert Watcher.of(environment) == Watcher(address="/run/notify", watchdog_s=watchdog_s)
    assert environment == {"HOME": "/root"}


def test_nobody_watches_unless_asked() -> None:
    assert Watcher.of({}) == NOBODY
    NOBODY.ready("to nobody")


def test_a_watcher_that_is_gone_is_no_trouble(tmp_path: Path) -> None:
    Watcher(address=str(tmp_path / "absent")).ready()


def test_a_supervisor_hears_its_child_and_no_more_than_that() -> None:
    ear = Ear()
    program = textwrap.dedent(
        """
        import os, subprocess, sys
        from ichd.app.notify import Watcher
        watcher = Watcher.of(os.environ)
        watcher.ready("of two\\nlines")
        said = "from ichd.app.notify import Watcher; import os; Watcher.of(os.environ).status('grandchild')"
        subprocess.run([sys.executable, "-c", said], check=True)
        """
    )
    environment = {**os.environ, "NOTIFY_SOCKET": ear.address}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    # A datagram is there when its sender is done.
    assert ear.hear() == {"READY=1", "STATUS=of two", "lines"}
    assert ear.hear() == set()
    ear.close()
