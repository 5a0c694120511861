"""`ichd demo`: the whole trip on this machine, with peers that are not ours.

A synthetic head CT with a bleed goes by C-STORE to a daemon that runs as it would in a hospital; a second AE
(pynetdicom's own storescp, a process of its own) receives the Structured Report and writes it to disk.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom
from PIL import Image

from ichd.app.plain import plain_recipe
from ichd.domain.errors import IchdError, Transient
from ichd.domain.finding import CLASSES
from ichd.phantom import PhantomRecipe, render, write_series, write_truth
from ichd.publish.echo import echo
from ichd.publish.peer import DimsePeer
from ichd.publish.send import send_folder

#: Longest wait for a process to come up, and for the report to arrive.
_PATIENCE_S = 90.0
_POLL_S = 0.02
_LAST = {"SR": "ContentSequence", "OT": "PixelData"}


class DemoFailed(IchdError):
    """The trip did not reach its end; the message names the log to read."""


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demonstration shows."""

    folder: Path
    study_uid: str
    #: Bleed kinds that the phantom holds, with the number of slices that show each.
    truth: dict[str, int]
    slices: int
    report: Path
    #: The summary page, as a picture that any program shows.
    page: Path
    #: From the release of the sender's association to the report on the receiver's disk.
    release_to_report_s: float


def run_demo(folder: Path, *, bleeds: Sequence[str], seed: int, tell: Callable[[str], None]) -> DemoResult:
    """Run the trip in `folder`, which must not exist or be empty; `tell` hears what happens.

    Raises:
        DemoFailed: a process did not come up, or no report arrived.
    """
    series, received, log = folder / "phantom", folder / "received", folder / "serve.log"
    received.mkdir(parents=True)
    tell("rendering a synthetic head CT")
    phantom = render(plain_recipe(PhantomRecipe(seed=seed, bleeds=tuple(bleeds))))
    files = write_series(phantom, series)
    write_truth(phantom, folder / "truth")
    study_uid = str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
    truth = dict(zip(CLASSES, (int(n) for n in phantom.truth.sum(axis=0)), strict=True))

    daemon_port, receiver_port, web_port = free_ports(3)
    config = _write_settings(folder, daemon_port, receiver_port, web_port)
    tell("starting the daemon and a receiving AE")
    with _receiver(received, receiver_port, folder / "receiver.log"), _daemon(config, log):
        listener = DimsePeer(
            name="ichd", host="127.0.0.1", port=daemon_port, ae_title="ICHD", calling_ae_title="SCANNER", timeout_s=10.0
        )
        _wait_for_daemon(listener, log)
        tell(f"sending {len(files)} slices by C-STORE")
        send_folder(listener, [series], progress=lambda *_: None)
        released = time.monotonic()
        report = _wait_for(received, "SR", log)
        elapsed_s = time.monotonic() - released
        page = folder / "summary.png"
        Image.fromarray(pydicom.dcmread(_wait_for(received, "OT", log)).pixel_array).save(page)
    return DemoResult(
        folder=folder,
        study_uid=study_uid,
        truth=truth,
        slices=len(files),
        report=report,
        page=page,
        release_to_report_s=elapsed_s,
    )


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listens on at this moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def _write_settings(folder: Path, daemon_port: int, receiver_port: int, web_port: int) -> Path:
    config = folder / "ichd.toml"
    config.write_text(
        f"""[dicom]
port = {daemon_port}

[database]
url = {json.dumps(f"sqlite:///{folder.resolve() / 'ichd.db'}")}

[spool]
url = {json.dumps(str(folder.resolve() / "spool"))}
high_watermark = 1.0

[web]
port = {web_port}

[log]
format = "json"

[[destination]]
name = "demo-pacs"
address = "127.0.0.1:{receiver_port}"
ae_title = "DEMOPACS"
"""
    )
    return config


@contextmanager
def _receiver(folder: Path, port: int, log: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "pynetdicom", "storescp", str(port), "-aet", "DEMOPACS", "-od", str(folder)]
    with _process(command, log):
        yield


@contextmanager
def _daemon(config: Path, log: Path) -> Iterator[None]:
    with _process([sys.executable, "-m", "ichd", "--config", str(config), "serve"], log):
        yield


@contextmanager
def _process(command: Sequence[str], log: Path) -> Iterator[None]:
    # The demonstration's own settings file rules; variables meant for the site's daemon must not leak into it.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ICHD_")}
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command line
            list(command), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for_daemon(listener: DimsePeer, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        try:
            echo(listener)
        except Transient:
            time.sleep(0.2)
            continue
        if b'"worker_ready"' in log.read_bytes():
            return
        time.sleep(0.1)
    raise DemoFailed(f"the daemon did not come up in {_PATIENCE_S:.0f} s; read {log}")


def _wait_for(received: Path, modality: str, log: Path) -> Path:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        for path in received.iterdir():
            if path.stat().st_size and _is_whole(path, modality):
                return path
        time.sleep(_POLL_S)
    raise DemoFailed(f"no object of modality {modality} arrived in {_PATIENCE_S:.0f} s; read {log}")


def _is_whole(path: Path, modality: str) -> bool:
    """storescp writes in place: a file is whole once its last element is there."""
    try:
        received = pydicom.dcmread(path)
        return received.get("Modality") == modality and _LAST[modality] in received
    except (OSError, EOFError, ValueError, pydicom.errors.InvalidDicomError):
        return False
