"""A PostgreSQL server of our own, on loopback, in a temporary folder, gone with the test session."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.peers.ports import free_port

#: PostgreSQL refuses to run as root; these accounts are looked for, in this order.
_ACCOUNTS = ("postgres", "nobody")
_TIMEOUT_S = 60


class PostgresqlAbsent(Exception):
    """There is no PostgreSQL here, or nobody to run it; the message says which. One that fails is no absent one."""


class PostgresqlServer:
    """A server with its data in one folder and its port for life: a restart finds both as they were."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        """Make a cluster in `folder`, which must not exist; `durable` is the default of PostgreSQL, and slower.

        Raises:
            PostgresqlAbsent: there is no PostgreSQL, or nobody but root to run it.
            RuntimeError: there is one, and it makes no cluster.
        """
        self._programs = _programs()
        self._account = _account()
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True)
        if self._account:
            shutil.chown(folder, self._account)
        self.port = free_port()
        # Not the locale of whoever runs the tests: it may be one that this machine does not have.
        how = ("--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
        self._run(self._programs / "initdb", "-D", folder / "cluster", "-U", "ichd", *how)
        # No fsync: what survives a loss of power is PostgreSQL's affair, not ours. The zone is odd on purpose: times
        # must come back as UTC whatever the server's zone is.
        options = "" if durable else "-c fsync=off "
        options += f"-c port={self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
        self._options = f"{options} -c timezone=Asia/Kathmandu -c max_connections=100"

    @property
    def url(self) -> str:
        """Of its first database."""
        return f"postgresql://ichd@127.0.0.1:{self.port}/postgres"

    def start(self, *options: str) -> None:
        """Start it, with further `options` such as `-c max_connections=8`, and wait until it answers.

        Raises:
            RuntimeError: it does not start.
        """
        self._control("-o", " ".join((self._options, *options)), "start")

    def stop(self) -> None:
        """End it as an administrator does: sessions are told, what they had begun is rolled back."""
        self._control("-m", "fast", "stop")

    def crash(self) -> None:
        """End it without a word to anybody; the next start recovers from the log."""
        self._control("-m", "immediate", "stop")

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def _control(self, *arguments: str) -> None:
        server = (self._programs / "pg_ctl", "-D", self._folder / "cluster", "-l", self._folder / "log")
        self._run(*server, "-w", "-t", str(_TIMEOUT_S), *arguments)

    def _run(self, *command: str | Path) -> None:
        _run(command, self._account, self._folder)


@contextmanager
def running_postgresql(folder: Path, *, durable: bool = False) -> Iterator[str]:
    """A server for the length of the block (see `PostgresqlServer`); yields the URL of an empty database on it."""
    with running_server(folder, durable=durable) as server:
        yield server.url


@contextmanager
def running_server(folder: Path, *, durable: bool = False) -> Iterator[PostgresqlServer]:
    """The same for those who stop and start it meanwhile; it must be running at the end."""
    server = PostgresqlServer(folder, durable=durable)
    server.start()
    try:
        yield server
    finally:
        server.crash()


def _programs() -> Path:
    """Debian keeps the server's programs out of PATH, in a folder a version."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").is_file():
            return folder
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    raise PostgresqlAbsent("PostgreSQL is not installed (apt-get install postgresql)")


def _account() -> str | None:
    """Who runs the server; None for ourselves."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    for account in _ACCOUNTS:
        if account in known:
            return account
    raise PostgresqlAbsent("PostgreSQL refuses to run as root, and there is no other account to run it")


def _run(command: Sequence[str | Path], account: str | None, folder: Path) -> None:
    completed = subprocess.run(
        [str(part) for part in command],
        user=account,
        extra_groups=[] if account else None,
        group=pwd.getpwnam(account).pw_gid if account else None,
        cwd=folder,
        # pg_ctl's server inherits the output; a pipe would keep us waiting for its end.
        stdout=subprocess.DEVNULL,
        stderr=(folder / "setup.log").open("ab"),
        timeout=_TIMEOUT_S,
        check=False,
    )
    if completed.returncode:
        raise RuntimeError(f"{Path(command[0]).name} failed: {(folder / 'setup.log').read_text()[-500:]}")
