"""The supervisor with real child processes: restart, stop, and no orphans."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ichd.app.supervise import Role, supervise
from ichd.domain.errors import UserError

#: A child that notes its starts, ends on SIGTERM, and ends when its standard input closes.
CHILD = textwrap.dedent(
    """
    import os, pathlib, sys, threading
    from ichd.app.stopping import stop_on_signals, stop_with_supervisor
    stop = threading.Event()
    stop_on_signals(stop)
    stop_with_supervisor(stop)
    folder = pathlib.Path(sys.argv[1])
    (folder / f"started-{os.getpid()}").touch()
    stop.wait()
    (folder / f"stopped-{os.getpid()}").touch()
    """
)


def wait_until(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def pids(folder: Path, what: str) -> set[int]:
    return {int(p.name.removeprefix(f"{what}-")) for p in folder.glob(f"{what}-*")}


def test_a_role_that_dies_is_started_again_and_the_others_live_on(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    stop = threading.Event()
    roles = [Role(name=f.name, command=[sys.executable, "-c", CHILD, str(f)]) for f in folders]
    supervisor = threading.Thread(target=supervise, args=(roles,), kwargs={"stop": stop, "grace_s": 10.0})
    supervisor.start()
    try:
        wait_until(lambda: all(pids(f, "started") for f in folders))
        (first,) = pids(folders[0], "started")
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: len(pids(folders[0], "started")) == 2)
        assert len(pids(folders[1], "started")) == 1
    finally:
        stop.set()
        supervisor.join(20)
    assert not supervisor.is_alive()
    assert pids(folders[0], "stopped") == pids(folders[0], "started") - {first}
    assert pids(folders[1], "stopped") == pids(folders[1], "started")
    assert [role.process.returncode for role in roles if role.process] == [0, 0]


def test_a_role_that_ignores_sigterm_is_killed_after_the_grace_period(tmp_path: Path) -> None:
    deaf = """
        import pathlib, signal, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        pathlib.Path(sys.argv[1], "deaf").touch()
        time.sleep(60)
    """
    stop = threading.Event()
    role = Role(name="deaf", command=[sys.executable, "-c", textwrap.dedent(deaf), str(tmp_path)])
    supervisor = threading.Thread(target=supervise, args=([role],), kwargs={"stop": stop, "grace_s": 0.5})
    supervisor.start()
    wait_until((tmp_path / "deaf").exists)
    stop.set()
    supervisor.join(10)
    assert not supervisor.is_alive()
    assert role.process is not None
    assert role.process.returncode == -signal.SIGKILL


def exits(code: int, *, times: int, folder: Path) -> list[str]:
    """A command that ends with `code` so many times, then lives on."""
    program = """
        import pathlib, sys, threading
        from ichd.app.stopping import stop_with_supervisor
        folder, code, times = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
        number = len(list(folder.glob("try-*")))
        (folder / f"try-{number}").touch()
        if number < times:
            sys.exit(code)
        stop = threading.Event()
        stop_with_supervisor(stop)
        stop.wait()
    """
    return [sys.executable, "-c", textwrap.dedent(program), str(folder), str(code), str(times)]


def test_what_only_a_person_can_mend_stops_every_role(tmp_path: Path) -> None:
    helpless, healthy = tmp_path / "helpless", tmp_path / "healthy"
    helpless.mkdir()
    healthy.mkdir()
    roles = [
        Role(name="web", command=exits(2, times=99, folder=helpless)),
        Role(name="listen", command=[sys.executable, "-c", CHILD, str(healthy)]),
    ]

    with pytest.raises(UserError, match="web can't run, and a person must mend"):
        supervise(roles, stop=threading.Event(), grace_s=10.0, patience_s=1.0)

    # A port may be free a moment later: it was tried again before it was given up.
    assert len(list(helpless.iterdir())) > 1
    assert pids(healthy, "stopped") == pids(healthy, "started") != set()


@pytest.mark.parametrize("code", [1, 2])
def test_trouble_that_passes_does_not_stop_the_others(tmp_path: Path, code: int) -> None:
    stop = threading.Event()
    role = Role(name="listen", command=exits(code, times=2, folder=tmp_path))
    supervisor = threading.Thread(
        target=supervise, args=([role],), kwargs={"stop": stop, "grace_s": 5.0, "patience_s": 60.0}
    )
    supervisor.start()
    try:
        wait_until((tmp_path / "try-2").exists)
        assert supervisor.is_alive()
    finally:
        stop.set()
        supervisor.join(10)
    assert not supervisor.is_alive()


def test_a_crash_is_no_mistake_of_a_person(tmp_path: Path) -> None:
    stop = threading.Event()
    role = Role(name="worker", command=exits(1, times=99, folder=tmp_path))
    supervisor = threading.Thread(
        target=supervise, args=([role],), kwargs={"stop": stop, "grace_s": 5.0, "patience_s": 0.0}
    )
    supervisor.start()
    try:
        wait_until((tmp_path / "try-2").exists)
        assert supervisor.is_alive()
    finally:
        stop.set()
        supervisor.join(10)


def test_children_stop_by_themselves_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    program = textwrap.dedent(
        f"""
        import sys, threading
        from ichd.app.supervise import Role, supervise
        role = Role(name="child", command=[sys.executable, "-c", {CHILD!r}, {str(tmp_path)!r}])
        supervise([role], stop=threading.Event(), grace_s=5.0)
        """
    )
    supervisor = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_until(lambda: bool(pids(tmp_path, "started")))
    supervisor.kill()
    supervisor.wait()
    wait_until(lambda: pids(tmp_path, "stopped") == pids(tmp_path, "started"))
