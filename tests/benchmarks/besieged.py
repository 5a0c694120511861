"""An installation that is about to have a bad day: roles as processes, a small disk, a wire that can be cut."""

import os
import random
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ichd.store.engine import migrate
from tests.benchmarks.servers import ENVIRONMENT
from tests.peers.dcmtk import AE_TITLE, running_storescp
from tests.peers.ports import free_port
from tests.peers.postgresql import PostgresqlServer
from tests.peers.proxy import Proxy, running_proxy

WORKERS = 2
_DISK_MB = 1500
#: Where Debian's faketime keeps what a program loads to believe in another time.
_FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)

_SETTINGS = """
[dicom]
port = {dicom_port}
[web]
port = {web_port}
[database]
url = "{url}"
[spool]
url = "{disk}/spool"
high_watermark = 1.0
[study]
quiet_period_s = 1.0
interrupted_period_s = 3.0
silent_period_s = 10.0
[model]
cache = "{folder}/cache"
promoted = "{folder}/models"
threads = 1
[worker]
lease_s = 5.0
retry_first_s = 0.5
retry_ceiling_s = 2.0
heat_maps = false
[log]
level = "info"
format = "json"
"""
_DESTINATION = '[[destination]]\nname = "{name}"\naddress = "127.0.0.1:{port}"\nae_title = "{ae}"\ntimeout_s = 5.0\n'


@dataclass(kw_only=True)
class Role:
    """A process of ichd that is started again whenever it is killed."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, env=dict(self.environment), stdout=log, stderr=log)

    def restart_if_dead(self) -> None:
        """As systemd would."""
        if self.process is None or self.process.poll() is not None:
            self.start()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)


class Destination:
    """A PACS that is sometimes away."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.port = free_port()
        self._life = ExitStack()

    def come(self) -> None:
        self._life.enter_context(running_storescp(self.folder, port=self.port))

    def go(self) -> None:
        self._life.close()


class Installation:
    """Listener, web door and workers on one database; two destinations."""

    def __init__(self, folder: Path, server: PostgresqlServer | None) -> None:
        """With `server` workers reach it over a wire of their own; SQLite lies on the same small disk as the spool."""
        self.folder = folder
        self.server = server
        self.disk = folder / "disk"
        self.dicom_port, self.web_port = free_port(), free_port()
        self.destinations = [Destination(name, folder / name) for name in ("pacs", "archive")]
        #: Between the workers and the server.
        self.wire: Proxy | None = None
        self.url = server.url if server else f"sqlite:///{self.disk}/ichd.db"
        #: Of the clocks, by role: seconds that they are ahead of the true time.
        self._clocks = {name: folder / f"{name}.clock" for name in self._names()}
        self.roles: list[Role] = []
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self.disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m", "tmpfs", str(self.disk)], check=True)
        self._open.callback(subprocess.run, ["umount", "--lazy", str(self.disk)], check=True)
        if self.server is not None:
            self.wire = self._open.enter_context(running_proxy(self.server.port))
        for destination in self.destinations:
            destination.come()
            self._open.callback(destination.go)
        migrate(self.url)
        for name, clock in self._clocks.items():
            clock.write_text("+0")
            self.roles.append(self._role(name, clock))
        for role in self.roles:
            role.start()
            self._open.callback(role.kill)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def clocks_can_jump(self) -> bool:
        """Whether faketime is installed (Debian: faketime)."""
        return _FAKETIME is not None

    def set_clocks(self, seconds: int, chance: random.Random) -> None:
        """One machine has one clock; with a server each role may stand on a machine of its own."""
        names = list(self._clocks) if self.server is None else [chance.choice(list(self._clocks))]
        for name in names:
            self._clocks[name].write_text(f"{seconds:+d}")

    def right_clocks(self) -> None:
        for clock in self._clocks.values():
            clock.write_text("+0")

    def stop(self) -> None:
        """As an administrator stops it."""
        for role in self.roles:
            role.stop()

    def _names(self) -> list[str]:
        return ["listen", "web", *(f"worker-{number}" for number in range(1, WORKERS + 1))]

    def _role(self, name: str, clock: Path) -> Role:
        kind = name.partition("-")[0]
        url = self.url
        if kind == "worker" and self.server is not None and self.wire is not None:
            url = url.replace(f":{self.server.port}/", f":{self.wire.port}/")
        config = self.folder / f"{name}.toml"
        config.write_text(
            _SETTINGS.format(
                dicom_port=self.dicom_port, web_port=self.web_port, url=url, disk=self.disk, folder=self.folder
            )
            + "".join(_DESTINATION.format(name=d.name, port=d.port, ae=AE_TITLE) for d in self.destinations)
        )
        environment = dict(ENVIRONMENT)
        if _FAKETIME is not None:
            environment |= {
                "LD_PRELOAD": str(_FAKETIME),
                "FAKETIME_TIMESTAMP_FILE": str(clock),
                "FAKETIME_CACHE_DURATION": "1",
                # A step of the wall clock leaves the others alone.
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                # Files keep the times that the kernel gives them.
                "NO_FAKE_STAT": "1",
            }
        command = [sys.executable, "-m", "ichd", "--config", str(config), kind]
        return Role(name=name, command=command, environment=environment, log=self.folder / f"{name}.log")


def may_mount() -> bool:
    """Whether we may make a small disk of our own: only root may."""
    return os.geteuid() == 0
