"""rsyslog, Debian's collector: TLS by GnuTLS, client certificates wanted; one file of what it took."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.intake.certificates import Authority
from tests.peers.ports import free_port

PROGRAM = shutil.which("rsyslogd", path="/usr/sbin:/usr/bin:/usr/local/sbin")
CONFIGURATION = """
global(workDirectory="{folder}" maxMessageSize="64k"
       defaultNetstreamDriverCAFile="{ca}"
       defaultNetstreamDriverCertFile="{certificate}" defaultNetstreamDriverKeyFile="{key}")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
input(type="imtcp" address="127.0.0.1" port="{port}")
template(name="taken" type="string"
         string="%pri% %timestamp:::date-rfc3339% %hostname% %app-name% %msgid% %msg:::json%\\n")
action(type="omfile" file="{folder}/taken" template="taken")
"""


@dataclass(frozen=True, kw_only=True)
class Rsyslog:
    """A running rsyslog."""

    port: int
    taken: Path

    def wait_for(self, count: int, *, timeout_s: float = 20.0) -> list[str]:
        """The lines, as soon as there are so many.

        Raises:
            TimeoutError: there are not.
        """
        deadline = time.monotonic() + timeout_s
        while len(lines := self.taken.read_text().splitlines() if self.taken.exists() else []) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"rsyslog took {len(lines)} of {count} messages")
            time.sleep(0.02)
        return lines


@contextmanager
def running_rsyslog(folder: Path, authority: Authority) -> Iterator[Rsyslog]:
    """Start it in a folder; skips the test where it is missing."""
    if PROGRAM is None:
        pytest.skip("rsyslog is not installed (Debian: apt-get install rsyslog rsyslog-gnutls)")
    folder.mkdir()
    pair, port = authority.issue("rsyslog"), free_port()
    configuration = folder / "rsyslog.conf"
    configuration.write_text(
        CONFIGURATION.format(folder=folder, ca=authority.ca, certificate=pair.certificate, key=pair.key, port=port)
    )
    command = [PROGRAM, "-n", "-f", str(configuration), "-i", str(folder / "pid")]
    process = subprocess.Popen(command, stderr=(folder / "errors").open("wb"))
    try:
        yield Rsyslog(port=port, taken=folder / "taken")
    finally:
        process.terminate()
        process.wait(20)
