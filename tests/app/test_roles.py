"""What the supervisor makes of its children's ends and words: recycled, hung, held, ready."""

import signal
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from ichd.app.ear import Ear
from ichd.app.notify import NOBODY, Watcher
from ichd.app.role import Role
from ichd.app.serve import run_supervisor
from ichd.app.supervise import supervise
from ichd.domain.errors import IchdError, UserError
from ichd.settings import Settings
from tests.app.test_supervise import exits, wait_until


def speaks(program: str) -> list[str]:
    """A child that says something to its watcher, and then waits for the end of its lifeline."""
    before = "import os, sys, time\nfrom ichd.app.notify import Watcher\nwatcher = Watcher.of(os.environ)\n"
    return [sys.executable, "-c", before + textwrap.dedent(program) + "\nwhile os.read(0, 1): pass"]


@contextmanager
def supervised(*roles: Role, **options: object) -> Iterator[threading.Thread]:
    stop = threading.Event()
    supervisor = threading.Thread(
        target=supervise, args=(roles,), kwargs={"stop": stop, "grace_s": 5.0, "patience_s": 60.0, **options}
    )
    supervisor.start()
    try:
        yield supervisor
    finally:
        stop.set()
        supervisor.join(30)
        assert not supervisor.is_alive()


def test_a_child_that_asks_to_be_replaced_is_replaced_at_once_and_that_is_no_error(tmp_path: Path) -> None:
    role = Role(name="worker", command=exits(75, times=2, folder=tmp_path))
    with capture_logs() as logs, supervised(role):
        wait_until((tmp_path / "try-2").exists, 120)
        assert (role.deaths, role.not_before) == (0, 0.0)
    assert [entry["log_level"] for entry in logs if entry["event"] == "role_recycled"] == ["info"] * 2
    assert not [entry for entry in logs if entry["event"] == "role_died"]


def test_a_child_that_falls_silent_is_killed_and_started_again() -> None:
    role = Role(name="web", command=speaks("watcher.ready(); watcher.beat()"), watchdog_s=1.0)
    with capture_logs() as logs, supervised(role):
        wait_until(lambda: any(entry["event"] == "role_died" for entry in logs), 120)
    (hung, died) = [entry for entry in logs if entry["event"] in {"role_hung", "role_died"}][:2]
    assert (hung["event"], died["exit_code"]) == ("role_hung", -signal.SIGKILL)


@pytest.mark.parametrize("words", ["watcher.ready()", "watcher.beat(); watcher.stopping()"])
def test_one_that_never_beat_or_is_stopping_is_left_alone(words: str) -> None:
    role = Role(name="web", command=speaks(words), watchdog_s=0.0)
    role.start()
    try:
        assert role.process is not None
        role.listen()
        role.end_if_hung()
        assert role.process.poll() is None
    finally:
        role.cancel()


def test_a_pause_of_the_supervisor_is_no_silence_of_the_child() -> None:
    role = Role(name="web", command=[], beat_at=100.0)
    role.sleep(3600.0)
    assert role.beat_at == 3700.0


def test_who_watches_the_supervisor_hears_that_the_door_is_open_and_that_all_is_kept_alive() -> None:
    ear = Ear()
    watcher = Watcher(address=ear.address, watchdog_s=0.3)
    roles = [Role(name="listen", command=speaks("watcher.ready()")), Role(name="web", command=speaks(""))]
    heard: set[str] = set()

    def heard_of_both() -> bool:
        heard.update(ear.hear())
        return {"READY=1", "WATCHDOG=1"} <= heard

    with supervised(*roles, watcher=watcher):
        wait_until(heard_of_both, 120)
        assert "STOPPING=1" not in heard
    heard |= ear.hear()
    ear.close()
    assert {"STATUS=listen ready, web not ready", "STOPPING=1"} <= heard


def test_the_others_wait_until_the_door_is_open() -> None:
    door = Role(name="listen", command=speaks("time.sleep(1); watcher.ready()"))
    other = Role(name="worker", command=speaks(""))
    with capture_logs() as logs, supervised(door, other, first_alone_s=120.0):
        wait_until(lambda: other.process is not None, 120)
    events = [(entry["event"], entry["role"]) for entry in logs if entry["event"] in {"role_ready", "role_started"}]
    assert events == [("role_started", "listen"), ("role_ready", "listen"), ("role_started", "worker")]


def test_what_was_found_out_meanwhile_stops_all() -> None:
    found: list[IchdError] = []
    role = Role(name="listen", command=speaks("watcher.ready()"))

    def trouble() -> IchdError | None:
        if role.is_ready:
            found.append(UserError("weights are damaged"))
        return found[0] if found else None

    with pytest.raises(UserError, match="weights are damaged"):
        supervise([role], stop=threading.Event(), grace_s=5.0, trouble=trouble)
    assert role.process is not None
    assert role.process.poll() is not None


def test_a_child_that_is_held_begins_at_our_word(tmp_path: Path) -> None:
    begins = [sys.executable, "-c", "import os, pathlib, sys; os.read(0, 1); pathlib.Path(sys.argv[1]).touch()"]
    held = Role(name="listen", command=[*begins, str(tmp_path / "begun")], held=True)
    cancelled = Role(name="listen", command=[*begins, str(tmp_path / "never")], held=True)
    for role in (held, cancelled):
        role.start()
    cancelled.cancel()
    held.release()
    wait_until((tmp_path / "begun").exists, 120)
    assert not (tmp_path / "never").exists()
    held.cancel()


def test_a_start_that_breaks_off_leaves_no_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it does: here once all is checked, and the door would be let go."""

    class Interrupted(BaseException):
        pass

    def break_off(_check: object) -> None:
        raise Interrupted

    monkeypatch.setattr("ichd.app.serve._Beside", break_off)
    monkeypatch.chdir(tmp_path)
    waits = [sys.executable, "-c", "import os; os.read(0, 1)"]

    with pytest.raises(Interrupted):
        run_supervisor(Settings(), waits, threading.Event(), NOBODY)

    assert [child for child in psutil.Process().children() if "os.read(0, 1)" in " ".join(child.cmdline())] == []
