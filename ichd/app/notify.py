"""A word to who watches over this process, by the protocol of sd_notify(3): ready, stopping, alive.

systemd and our own supervisor speak it. Nothing is sent where nobody asked (`NOTIFY_SOCKET`), and nothing that goes
wrong here matters to the work: a watcher that is gone is none.
"""

import os
import socket
import threading
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Self

_SOCKET, _INTERVAL, _FOR_WHOM = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
#: A file descriptor that is full for so long belongs to nobody who listens.
_TIMEOUT_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Watcher:
    """Who watches over this process, if anybody does."""

    #: Path of a datagram socket, or its name in the abstract space after "@"; None where nobody listens.
    address: str | None = None
    #: Silence after which the process counts as hung, seconds; None where nobody waits for signs of life.
    watchdog_s: float | None = None

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> Self:
        """Take what the environment says out of it: a child of ours must not speak in our name."""
        address = environment.pop(_SOCKET, None)
        interval, whom = environment.pop(_INTERVAL, ""), environment.pop(_FOR_WHOM, "")
        is_ours = whom in {"", str(os.getpid())}
        watchdog_s = int(interval) / 1e6 if interval.isdecimal() and int(interval) and is_ours else None
        return cls(address=address or None, watchdog_s=watchdog_s)

    def ready(self, status: str = "") -> None:
        """The start is over: work is taken."""
        self._send("READY=1", *([f"STATUS={status}"] if status else []))

    def status(self, status: str) -> None:
        """A line for people."""
        self._send(f"STATUS={status}")

    def stopping(self) -> None:
        """Nothing new is taken."""
        self._send("STOPPING=1")

    def beat(self) -> None:
        """A sign of life."""
        self._send("WATCHDOG=1")

    def watch(self, is_well: Callable[[], bool]) -> None:
        """From now on a sign of life at each third of the time, as long as `is_well` says so.

        A thread that beats whatever happens would prove that threads run; so it asks those that do the work.
        """
        if self.address is None or self.watchdog_s is None:
            return
        interval_s = self.watchdog_s / 3

        def beat() -> None:
            pause = threading.Event()
            while True:
                if is_well():
                    self.beat()
                pause.wait(interval_s)

        threading.Thread(target=beat, name="watchdog", daemon=True).start()

    def _send(self, *words: str) -> None:
        if self.address is None:
            return
        # A leading "@" stands for the zero byte of the abstract space.
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as speaking:
                speaking.settimeout(_TIMEOUT_S)
                speaking.sendto("\n".join(words).encode(), address)
        except OSError:
            return


#: For who is watched by nobody.
NOBODY = Watcher()
