"""`ichd serve`: the roles as child processes, one restarted when it dies, all stopped together.

A role that the machine kills (out of memory, a driver that aborts) must not take the others with it, so each has a
process. Every child holds the read end of a pipe as its standard input: when the supervisor dies by SIGKILL the pipe
closes and the child stops by itself, so that no orphan keeps the port from the next supervisor. It says by sd_notify(3)
that it is ready and that it lives, to us as it would to systemd; one that falls silent is killed and started again.

A role that only a person can help (exit code 2: its settings, a port that is taken) is not restarted for ever when it
never came up: all roles stop, so that whatever watches this process sees it, and no listener takes images that nobody
will read. One that once ran well is restarted whatever it says, since its trouble must not close the door.
"""

import subprocess
import threading
import time
from collections.abc import Callable, Sequence

import structlog

from ichd.app.notify import NOBODY, Watcher
from ichd.app.role import Role
from ichd.domain.errors import IchdError, UserError

__all__ = ["Role", "supervise"]

log = structlog.get_logger(__name__)

_POLL_S = 0.1
#: For so long an end that a person must mend may still be the port of a listener that is just dying.
_PATIENCE_S = 10.0
#: A turn takes a tenth of a second; one that took longer than this was a pause of this process or of the machine.
_PAUSE_S = 5.0


def supervise(
    roles: Sequence[Role],
    *,
    stop: threading.Event,
    grace_s: float,
    patience_s: float = _PATIENCE_S,
    watcher: Watcher = NOBODY,
    trouble: Callable[[], IchdError | None] = lambda: None,
    first_alone_s: float = 0.0,
) -> None:
    """Keep the roles alive until `stop` is set, then stop them: SIGTERM, and SIGKILL after `grace_s`.

    `watcher` hears that all is ready once the first role is: it is the one that work comes to. `trouble` is what was
    found out meanwhile and makes it pointless to go on. Until the first role is ready, but for `first_alone_s` at most,
    no other starts: what they load would keep the processor from it.

    Raises:
        UserError: for `patience_s` a role ended again and again with what a person must mend; all roles are stopped.
        IchdError: that of `trouble`; all roles are stopped.
    """
    report = _Report(roles, watcher)
    turned_at = began_at = time.monotonic()
    try:
        while not stop.is_set():
            paused_s, turned_at = time.monotonic() - turned_at, time.monotonic()
            is_alone = not roles[0].is_ready and turned_at - began_at < first_alone_s
            for role in roles[:1] if is_alone else roles:
                if paused_s > _PAUSE_S:
                    role.sleep(paused_s)
                _tend(role, patience_s)
            if (found := trouble()) is not None:
                raise found
            report.turn()
            stop.wait(_POLL_S)
    finally:
        watcher.stopping()
        _stop_all(roles, grace_s)


def _tend(role: Role, patience_s: float) -> None:
    role.listen()
    role.end_if_hung()
    if role.process is not None and role.process.poll() is not None:
        role.bury()
        _give_up_on(role, patience_s)
    if role.process is None and time.monotonic() >= role.not_before:
        role.start()


def _give_up_on(role: Role, patience_s: float) -> None:
    if role.helpless_since is not None and time.monotonic() - role.helpless_since >= patience_s:
        # The role wrote its sentence to the standard error that we share.
        raise UserError(
            f"{role.name} can't run, and a person must mend what it says above; everything is stopped, start again then"
        )


class _Report:
    """What the watcher of the supervisor hears; its signs of life come from the loop that keeps the roles alive."""

    def __init__(self, roles: Sequence[Role], watcher: Watcher) -> None:
        self._roles = roles
        self._watcher = watcher
        self._status = ""
        self._is_ready = False
        self._beat_at = 0.0

    def turn(self) -> None:
        status = ", ".join(f"{role.name} {'ready' if role.is_ready else 'not ready'}" for role in self._roles)
        if not self._is_ready and self._roles and self._roles[0].is_ready:
            self._is_ready = True
            self._watcher.ready(status)
        elif status != self._status:
            self._watcher.status(status)
        self._status = status
        if self._watcher.watchdog_s is not None and time.monotonic() - self._beat_at >= self._watcher.watchdog_s / 3:
            self._beat_at = time.monotonic()
            self._watcher.beat()


def _stop_all(roles: Sequence[Role], grace_s: float) -> None:
    running = [(role, role.process) for role in roles if role.process is not None]
    for _, process in running:
        process.terminate()
    deadline = time.monotonic() + grace_s
    for role, process in running:
        try:
            process.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            log.warning("role_killed", role=role.name, after_s=grace_s)
            process.kill()
            process.wait()
        role.hang_up()
        log.info("role_stopped", role=role.name, exit_code=process.returncode)
