"""PostgreSQL's own programs: found, checked against the server, and called without a password on the command line."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from sqlalchemy import URL

from ichd.domain.errors import Transient, UserError
from ichd.domain.reason import Reason

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
#: Debian keeps a folder a version; what is in PATH there may be older than the server.
_DEBIAN = Path("/usr/lib/postgresql")


def run_program(name: str, options: Sequence[str], url: URL, *, server: int) -> None:
    """Run pg_dump or pg_restore on the database of a URL; `server` is the server's major version.

    Raises:
        UserError: the program is missing, or older than the server.
        Transient: it failed; with the last line that it said.
    """
    program = find_program(name, server)
    # A password on the command line is seen by everybody on the machine. `URL.set` takes None for no change.
    without = URL.create(
        "postgresql", username=url.username, host=url.host, port=url.port, database=url.database, query=url.query
    )
    target = without.render_as_string(hide_password=False)
    environment = dict(os.environ)
    if url.password is not None:
        environment["PGPASSWORD"] = url.password
    done = subprocess.run(  # noqa: S603 - found by name, its options are ours
        [program, "--no-password", f"--dbname={target}", *options],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
        text=True,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no word"]
        raise Transient(Reason.STORE_UNAVAILABLE, f"{name} failed: {said[0]}")


def find_program(name: str, server: int) -> Path:
    """The first one that is not older than the server.

    Raises:
        UserError: there is none; names the package.
    """
    mend = f"install postgresql-client-{server}, or a newer one"
    found = {program: _version(program) for program in _candidates(name)}
    for program, version in found.items():
        if version >= server:
            return program
    if not found:
        raise UserError(f"{name} is missing on this machine; {mend}")
    raise UserError(f"{name} {max(found.values())} is older than the server, which is {server}; {mend}")


def _candidates(name: str) -> Iterator[Path]:
    if in_path := shutil.which(name):
        yield Path(in_path)
    yield from sorted(_DEBIAN.glob(f"*/bin/{name}"), reverse=True)


def _version(program: Path) -> int:
    """Major version; 0 for one that does not say it, as Debian's wrapper where nothing is installed behind it."""
    said = subprocess.run([program, "--version"], capture_output=True, check=False, text=True)  # noqa: S603
    match = _VERSION.search(said.stdout)
    return int(match.group(1)) if match else 0
