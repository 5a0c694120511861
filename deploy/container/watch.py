"""Process 1 of a container: starts one role and does for it what systemd does on a machine.

A container's runtime knows whether a process lives, not whether it works. The roles say that by sd_notify(3) (ready,
stopping, and signs of life as long as their work gets on); here is who listens. /run/ichd/ready is there while the role
is ready, for probes; a role that is silent for too long is killed, and the runtime starts another container. Signals go
on to the role, orphans are reaped, its exit code is ours.

    watch.py ichd worker

The standard library alone: it must run before, and whatever happens to, what it watches.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

#: Of the container alone, in memory.
FOLDER = Path(os.environ.get("WATCH_FOLDER", "/run/ichd"))
#: Silence after which a role that was ready counts as hung, seconds. It beats three times in that time.
WATCHDOG_S = float(os.environ.get("WATCH_SECONDS", "60"))
#: How long a role may take until it is ready: the first start on a machine converts the model for its engine.
START_S = float(os.environ.get("WATCH_START_SECONDS", "900"))
_POLL_S = 0.2
_LONGEST_WORD = 4096
#: What the shell says of a process that a signal ended.
_BY_SIGNAL = 128
_HUNG = 70


def main(command: Sequence[str]) -> int:
    """Run the role until it ends; returns its exit code, or 70 where it hung."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    ready = FOLDER / "ready"
    ready.unlink(missing_ok=True)
    with _ear(FOLDER / "notify") as ear:
        role = subprocess.Popen(  # noqa: S603 - the container's own command
            command,
            env=os.environ | {"NOTIFY_SOCKET": str(FOLDER / "notify"), "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))},
        )
        _pass_on_signals(role)
        code = _listen(ear, role, ready)
    ready.unlink(missing_ok=True)
    return code


def _ear(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ear.bind(str(path))
    ear.settimeout(_POLL_S)
    return ear


def _pass_on_signals(role: subprocess.Popen[bytes]) -> None:
    def pass_on(number: int, _frame: FrameType | None) -> None:
        # It may have ended in this very moment; then there is nobody to tell.
        with suppress(ProcessLookupError):
            os.kill(role.pid, number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)


def _listen(ear: socket.socket, role: subprocess.Popen[bytes], ready: Path) -> int:
    """Until the role ends, of itself or because it was silent for too long."""
    deadline = time.monotonic() + START_S
    while (code := _ended(role)) is None:
        with suppress(TimeoutError):
            words = ear.recv(_LONGEST_WORD).decode(errors="replace").splitlines()
            if "READY=1" in words:
                ready.touch()
            if "STOPPING=1" in words:
                # It finishes what it has in hand, for as long as the runtime lets it; that is not for us to judge.
                ready.unlink(missing_ok=True)
                deadline = float("inf")
            elif "READY=1" in words or ("WATCHDOG=1" in words and ready.exists()):
                deadline = time.monotonic() + WATCHDOG_S
        if time.monotonic() > deadline:
            silent_for = WATCHDOG_S if ready.exists() else START_S
            _say(f"no sign of life of {role.args!r} for {silent_for:.0f} s; killed, so that another can take its place")
            # SIGABRT would ask politely: whoever hangs in a driver does not hear it, and a core would hold images.
            role.kill()
            role.wait()
            return _HUNG
    return code


def _ended(role: subprocess.Popen[bytes]) -> int | None:
    """The role's exit code, once it has one. Reaps what lost its parent and became ours, as process 1 has to."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return _HUNG
        if pid == 0:
            return None
        if pid == role.pid:
            code = os.waitstatus_to_exitcode(status)
            role.returncode = code
            return code if code >= 0 else _BY_SIGNAL - code


def _say(sentence: str) -> None:
    print(f"watch: {sentence}", file=sys.stderr, flush=True)  # noqa: T201 - there is no log but this


if __name__ == "__main__":
    if len(sys.argv) < 2:
        _say("name the role to run: watch.py ichd worker")
        sys.exit(2)
    sys.exit(main(sys.argv[1:]))
