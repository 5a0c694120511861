"""What a child process says to its supervisor: the other end of `ichd.app.notify`."""

import secrets
import socket

_LONGEST = 4096


class Ear:
    """A datagram socket in the abstract space, so that no file is left behind by who is killed.

    Another user of this machine could find its name and speak to it; all he could do is call a hung child alive.
    """

    def __init__(self) -> None:
        #: As the child finds it in `NOTIFY_SOCKET`.
        self.address = f"@ichd-{secrets.token_hex(8)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.bind("\0" + self.address[1:])
        self._socket.setblocking(False)

    def hear(self) -> set[str]:
        """The assignments that came since the last time, such as "READY=1"."""
        said: set[str] = set()
        while True:
            try:
                said.update(self._socket.recv(_LONGEST).decode(errors="replace").splitlines())
            except BlockingIOError:
                return said

    def close(self) -> None:
        """Hear nothing more."""
        self._socket.close()
