"""A child process of the supervisor: its starts, its ends, and its signs of life."""

import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from ichd.app.ear import Ear
from ichd.domain.ending import Ending

log = structlog.get_logger(__name__)

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
#: A role that ran for so long was healthy: its next death starts the backoff anew.
_HEALTHY_AFTER_S = 60.0
#: A child that spoke and then is silent for so long hangs. Longer than any role may think of itself that it is well.
_WATCHDOG_S = 120.0


@dataclass
class Role:
    """A child process and how often it died lately."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    deaths: int = 0
    not_before: float = field(default=0.0)
    #: Whether it ever ran well.
    proved: bool = False
    #: When the row of ends that a person must mend began, of a role that never ran well.
    helpless_since: float | None = None
    #: It says that it takes work.
    is_ready: bool = False
    watchdog_s: float = _WATCHDOG_S
    #: Its child loads itself and then waits for our word, since we don't know yet whether it may run.
    held: bool = False
    #: Of its last sign of life; None before the first, and once it stops by itself.
    beat_at: float | None = None
    ear: Ear | None = None

    def start(self) -> None:
        """Start the process with the lifeline as its standard input, and an ear for what it says."""
        self.is_ready, self.beat_at = False, None
        self.ear = Ear()
        # What our own watcher told us is not for the child (`ichd.app.notify.Watcher.of` took it out).
        environment = {**os.environ, "NOTIFY_SOCKET": self.ear.address, "WATCHDOG_USEC": f"{self.watchdog_s * 1e6:.0f}"}
        command = list(self.command)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)  # noqa: S603 - our own
        self.started_at = time.monotonic()
        if not self.held:
            self.release()

    def release(self) -> None:
        """Let it run, and those that follow it too."""
        self.held = False
        if self.process is None or self.process.stdin is None:
            return
        with suppress(BrokenPipeError):  # it has ended already, which is seen at its next look
            self.process.stdin.write(b"\n")
            self.process.stdin.flush()
        log.info("role_started", role=self.name, pid=self.process.pid)

    def cancel(self) -> None:
        """End a child that was held, and has done nothing; one that has ended, or was never started, needs no more."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.hang_up()

    def listen(self) -> None:
        """Take note of what it said since the last time."""
        said = self.ear.hear() if self.ear else set()
        if "WATCHDOG=1" in said:
            self.beat_at = time.monotonic()
        if "READY=1" in said and not self.is_ready:
            self.is_ready = True
            log.info("role_ready", role=self.name, after_s=round(time.monotonic() - self.started_at, 1))
        if "STOPPING=1" in said:
            self.is_ready, self.beat_at = False, None

    def sleep(self, seconds: float) -> None:
        """The supervisor itself stood still for so long, and heard nobody: that is no silence of the child."""
        if self.beat_at is not None:
            self.beat_at += seconds

    def end_if_hung(self) -> None:
        """Kill it when its signs of life fail to come; its restart follows.

        By SIGKILL: what hangs hears no SIGTERM, and a core of SIGABRT would hold images of patients.
        """
        if self.process is None or self.beat_at is None or time.monotonic() - self.beat_at < self.watchdog_s:
            return
        log.error("role_hung", role=self.name, silent_s=self.watchdog_s)
        self.beat_at = None
        self.process.kill()

    def bury(self) -> None:
        """Note an end, and when to start again: at once where it asked to be replaced."""
        if self.process is None:
            return
        lived_s = time.monotonic() - self.started_at
        code = self.process.returncode
        self.proved = self.proved or lived_s > _HEALTHY_AFTER_S
        if self.proved or code != Ending.MEND_NEEDED:
            self.helpless_since = None
        elif self.helpless_since is None:
            self.helpless_since = time.monotonic()
        if code == Ending.RECYCLED:
            # It did at least one job, or gave up on one: no backoff is needed against a loop that does nothing.
            self.deaths, self.not_before = 0, 0.0
            log.info("role_recycled", role=self.name, lived_s=round(lived_s, 1))
        else:
            self.deaths = 1 if lived_s > _HEALTHY_AFTER_S else self.deaths + 1
            wait_s = min(_FIRST_WAIT_S * 2 ** min(self.deaths - 1, 10), _LONGEST_WAIT_S)
            self.not_before = time.monotonic() + wait_s
            log.error("role_died", role=self.name, exit_code=code, restart_in_s=wait_s)
        self.hang_up()
        self.process = None

    def hang_up(self) -> None:
        """Close what led to a process that has ended."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
        if self.ear is not None:
            self.ear.close()
        self.ear, self.is_ready, self.beat_at = None, False, None
