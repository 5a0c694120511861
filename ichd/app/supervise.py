"""`ichd serve`: the roles as child processes, one restarted when it dies, all stopped together.

A role that the machine kills (out of memory, a driver that aborts) must not take the others with it, so each has a
process. Every child holds the read end of a pipe as its standard input: when the supervisor dies by SIGKILL the pipe
closes and the child stops by itself, so that no orphan keeps the port from the next supervisor.

A role that only a person can help (exit code 2: its settings, a port that is taken) is not restarted for ever when it
never came up: all roles stop, so that whatever watches this process sees it, and no listener takes images that nobody
will read. One that once ran well is restarted whatever it says, since its trouble must not close the door.
"""

import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from ichd.domain.errors import UserError

log = structlog.get_logger(__name__)

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
#: A role that ran for so long was healthy: its next death starts the backoff anew.
_HEALTHY_AFTER_S = 60.0
_POLL_S = 0.1
#: How a command of ours ends when a person must mend something (`ichd.cli.main`).
_MEND_NEEDED = 2
#: For so long such an end may still be the port of a listener that is just dying.
_PATIENCE_S = 10.0


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

    def start(self) -> None:
        """Start the process with the lifeline as its standard input."""
        self.process = subprocess.Popen(list(self.command), stdin=subprocess.PIPE)  # noqa: S603 - our own command line
        self.started_at = time.monotonic()
        log.info("role_started", role=self.name, pid=self.process.pid)

    def bury(self) -> None:
        """Note a death, and when to try again."""
        if self.process is None:
            return
        lived_s = time.monotonic() - self.started_at
        self.deaths = 1 if lived_s > _HEALTHY_AFTER_S else self.deaths + 1
        self.proved = self.proved or lived_s > _HEALTHY_AFTER_S
        if self.proved or self.process.returncode != _MEND_NEEDED:
            self.helpless_since = None
        elif self.helpless_since is None:
            self.helpless_since = time.monotonic()
        wait_s = min(_FIRST_WAIT_S * 2 ** min(self.deaths - 1, 10), _LONGEST_WAIT_S)
        self.not_before = time.monotonic() + wait_s
        log.error("role_died", role=self.name, exit_code=self.process.returncode, restart_in_s=wait_s)
        _close_lifeline(self.process)
        self.process = None


def supervise(roles: Sequence[Role], *, stop: threading.Event, grace_s: float, patience_s: float = _PATIENCE_S) -> None:
    """Keep the roles alive until `stop` is set, then stop them: SIGTERM, and SIGKILL after `grace_s`.

    Raises:
        UserError: for `patience_s` a role ended again and again with what a person must mend; all roles are stopped.
    """
    try:
        while not stop.is_set():
            for role in roles:
                if role.process is not None and role.process.poll() is not None:
                    role.bury()
                    _give_up_on(role, patience_s)
                if role.process is None and time.monotonic() >= role.not_before:
                    role.start()
            stop.wait(_POLL_S)
    finally:
        _stop_all([r for r in roles if r.process is not None], grace_s)


def _give_up_on(role: Role, patience_s: float) -> None:
    if role.helpless_since is not None and time.monotonic() - role.helpless_since >= patience_s:
        # The role wrote its sentence to the standard error that we share.
        raise UserError(
            f"{role.name} can't run, and a person must mend what it says above; everything is stopped, start again then"
        )


def _stop_all(roles: Sequence[Role], grace_s: float) -> None:
    processes = [(role.name, role.process) for role in roles if role.process is not None]
    for _, process in processes:
        process.terminate()
    deadline = time.monotonic() + grace_s
    for name, process in processes:
        try:
            process.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            log.warning("role_killed", role=name, after_s=grace_s)
            process.kill()
            process.wait()
        _close_lifeline(process)
        log.info("role_stopped", role=name, exit_code=process.returncode)


def _close_lifeline(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
