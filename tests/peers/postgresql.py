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


@contextmanager
def running_postgresql(folder: Path) -> Iterator[str]:
    """Start a server with its data in `folder`, which must not exist; yields the URL of an empty database on it.

    Raises:
        PostgresqlAbsent: there is no PostgreSQL, or nobody but root to run it.
        RuntimeError: there is one, and it does not start.
    """
    programs = _programs()
    account = _account()
    folder.mkdir(mode=0o700, parents=True)
    if account:
        shutil.chown(folder, account)
    port = free_port()
    cluster = folder / "cluster"
    initdb: list[str | Path] = [programs / "initdb", "-D", cluster, "-U", "ichd"]
    # Not the locale of whoever runs the tests: it may be one that this machine does not have.
    _run([*initdb, "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"], account, folder)
    # No fsync: what survives a loss of power is PostgreSQL's affair, not ours. The zone is odd on purpose: times must
    # come back as UTC whatever the server's zone is.
    options = f"-c fsync=off -c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    options += " -c timezone=Asia/Kathmandu -c max_connections=100"
    server: list[str | Path] = [programs / "pg_ctl", "-D", cluster, "-w", "-t", str(_TIMEOUT_S), "-l", folder / "log"]
    _run([*server, "-o", options, "start"], account, folder)
    try:
        yield f"postgresql://ichd@127.0.0.1:{port}/postgres"
    finally:
        _run([*server, "-m", "immediate", "stop"], account, folder)


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
