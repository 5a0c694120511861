"""A daemon as an operator runs it: `ichd serve` with a settings file, on free ports, in a folder of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from ichd.domain.errors import IchdError
from ichd.publish.echo import echo
from ichd.publish.peer import DimsePeer
from tests.peers.ports import free_port

#: Longest wait for anything: a loaded machine is slow, and timing decides no test.
PATIENCE_S = 120.0


@dataclass
class Destination:
    """Where the daemon sends reports."""

    ae_title: str
    port: int
    name: str = "pacs"


@dataclass
class Daemon:
    """`ichd serve` in `folder`; start and stop as often as you like, the data stays."""

    folder: Path
    destinations: Sequence[Destination] = ()
    extra_settings: str = ""
    #: Lines of the section [worker].
    worker_settings: str = ""
    #: SQLite in its folder where it is left out.
    database_url: str = ""
    port: int = field(default=0)
    web_port: int = field(default=0)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port, self.web_port = self.port or free_port(), free_port()
        self.database_url = self.database_url or f"sqlite:///{self.folder}/ichd.db"
        self.config.write_text(
            f"""
[dicom]
port = {self.port}
[database]
url = "{self.database_url}"
[spool]
url = "{self.folder}/spool"
high_watermark = 1.0
[web]
port = {self.web_port}
[worker]
lease_s = 5.0
retry_first_s = 0.5
retry_ceiling_s = 2.0
{self.worker_settings}
[log]
format = "json"
"""
            + "".join(
                f'[[destination]]\nname = "{d.name}"\naddress = "127.0.0.1:{d.port}"\nae_title = "{d.ae_title}"\n'
                for d in self.destinations
            )
            + self.extra_settings
        )

    @property
    def config(self) -> Path:
        """Its settings file."""
        return self.folder / "ichd.toml"

    @property
    def log(self) -> Path:
        """What it wrote to standard error, over all starts."""
        return self.folder / "serve.log"

    @property
    def peer(self) -> DimsePeer:
        """Its listener, as a sender sees it."""
        return DimsePeer(
            name="ichd", host="127.0.0.1", port=self.port, ae_title="ICHD", calling_ae_title="SCANNER", timeout_s=10.0
        )

    def start(self, *, wait: bool = True) -> None:
        """Start it in a process group of its own, and wait until it takes images."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ichd", "--config", str(self.config), "serve"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={k: v for k, v in os.environ.items() if not k.startswith("ICHD_")},
                start_new_session=True,
            )
        if wait:
            wait_until(self.answers, f"the daemon does not answer; see {self.log}")

    def answers(self) -> bool:
        """It answers C-ECHO."""
        try:
            echo(self.peer)
        except IchdError:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL to the supervisor and every child at once: the machine loses its power."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        self.process.terminate()
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            last_words = self.log.read_text(errors="replace").splitlines()[-20:]
            raise AssertionError("the daemon does not stop; its log ends\n" + "\n".join(last_words)) from error
        self.process = None
        return code

    def ichd(self, *arguments: str) -> Any:
        """What an `ichd ... --json` command prints, under this daemon's settings."""
        done = subprocess.run(
            [sys.executable, "-m", "ichd", "--config", str(self.config), *arguments, "--json"],
            capture_output=True,
            text=True,
            check=False,
            env={k: v for k, v in os.environ.items() if not k.startswith("ICHD_")},
        )
        assert done.returncode in (0, 1), done.stderr
        return json.loads(done.stdout)

    def studies(self) -> dict[str, dict[str, Any]]:
        """`ichd status --json`, by Study Instance UID."""
        return {s["study_uid"]: s for s in self.ichd("status")["studies"]}

    def listed(self) -> dict[str, dict[str, Any]]:
        """The same from its web role, which answers without a new process; nothing while it doesn't answer."""
        try:
            lines = httpx.get(f"http://127.0.0.1:{self.web_port}/api/studies").raise_for_status().json()
        except httpx.HTTPError:
            return {}
        return {line["study_uid"]: line for line in lines}

    def wait_for(self, study_uid: str, *states: str) -> dict[str, Any]:
        """The study as `ichd status STUDY --json` shows it, once it is in one of `states`."""
        wait_until(
            lambda: self.listed().get(study_uid, {}).get("state") in states,
            f"study {study_uid} never became {' or '.join(states)}; see {self.log}",
        )
        shown: dict[str, Any] = self.ichd("status", study_uid)
        return shown


@contextmanager
def running(daemon: Daemon) -> Iterator[Daemon]:
    """Start, and clean up whatever happened."""
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.kill()


def wait_until(
    condition: Callable[[], bool], complaint: str, *, poll_s: float = 0.1, patience_s: float = PATIENCE_S
) -> None:
    """Poll until true.

    Raises:
        AssertionError: it never was.
    """
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, complaint
        time.sleep(poll_s)
