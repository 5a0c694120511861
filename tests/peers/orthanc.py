"""Debian's Orthanc as a small PACS on loopback: an independent judge of what we send."""

import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from tests.peers.ports import free_port

AE_TITLE = "ORTHANC"
_EXECUTABLE = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")

_DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")

#: Why tests of the plug-in are skipped; None where it is there.
DICOMWEB_MISSING = (
    None if _DICOMWEB.exists() else "Orthanc's plug-in is not installed (apt-get install orthanc-dicomweb)"
)

#: Why tests that need it are skipped; None where it is there.
MISSING = None if _EXECUTABLE else "Orthanc is not installed (Debian: apt-get install orthanc)"


@dataclass(frozen=True, kw_only=True)
class Orthanc:
    """A running server, and its REST interface."""

    dicom_port: int
    http_port: int
    ae_title: str = AE_TITLE
    host: str = "127.0.0.1"

    def get(self, path: str) -> bytes:
        """Body of GET `path`, e.g. "/instances"."""
        with urllib.request.urlopen(f"http://{self.host}:{self.http_port}{path}", timeout=10) as answer:
            return bytes(answer.read())

    def get_json(self, path: str) -> Any:
        """The same, parsed."""
        return json.loads(self.get(path))

    def post_json(self, path: str, body: Any) -> Any:
        """Answer to POST `path` with a JSON body, parsed."""
        request = urllib.request.Request(
            f"http://{self.host}:{self.http_port}{path}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  loopback, http
            return json.loads(answer.read())

    def post_file(self, path: Path) -> Any:
        """Put a DICOM file into its store; the answer, parsed."""
        url = f"http://{self.host}:{self.http_port}/instances"
        with urllib.request.urlopen(urllib.request.Request(url, data=path.read_bytes()), timeout=10) as answer:
            return json.loads(answer.read())

    def post(self, path: str, body: bytes) -> None:
        """POST `path` with bytes."""
        request = urllib.request.Request(f"http://{self.host}:{self.http_port}{path}", data=body)
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310  loopback, http

    def delete(self, path: str) -> None:
        """DELETE `path`."""
        request = urllib.request.Request(f"http://{self.host}:{self.http_port}{path}", method="DELETE")
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310  loopback, http

    def find(self, **query: str) -> list[str]:
        """Orthanc's ids of the instances that match, by DICOM keyword."""
        return list(self.post_json("/tools/find", {"Level": "Instance", "Query": query}))

    def instances(self, **query: str) -> list[Dataset]:
        """The matching instances, as stored."""
        return [dcmread(BytesIO(self.get(f"/instances/{each}/file"))) for each in self.find(**query)]

    def file(self, orthanc_id: str) -> bytes:
        """One instance as a DICOM file."""
        return self.get(f"/instances/{orthanc_id}/file")


@contextmanager
def running_orthanc(folder: Path | None = None, **settings: Any) -> Iterator[Orthanc]:
    """Start Orthanc on free loopback ports with a store of its own, and stop it at the end.

    `settings` are added to its configuration, e.g. `OverwriteInstances=True`.
    """
    if _EXECUTABLE is None:
        raise RuntimeError(MISSING)
    with tempfile.TemporaryDirectory(prefix="orthanc-", dir=folder) as storage:
        server = Orthanc(dicom_port=free_port(), http_port=free_port())
        configuration = Path(storage) / "orthanc.json"
        configuration.write_text(json.dumps(_configuration(server, Path(storage)) | settings))
        with (Path(storage) / "log").open("wb") as log:
            # Nagle's algorithm costs a dcmtk-based peer 40 ms an object; this variable is dcmtk's switch for it.
            process = subprocess.Popen(
                [_EXECUTABLE, str(configuration)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"TCP_NODELAY": "1"},
            )
        try:
            _wait_until_ready(server, process, Path(storage) / "log")
            yield server
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def dicomweb_client_of(name: str, url: str, *, account: str, password: str) -> dict[str, Any]:
    """Settings that make Orthanc a DICOMweb client of a server at `url`, under the path /dicom-web/servers/`name`."""
    remote = {"Url": url, "Username": account, "Password": password, "HasDelete": False}
    return {"Plugins": [str(_DICOMWEB)], "DicomWeb": {"Enable": True, "Servers": {name: remote}}}


def dicomweb_server() -> dict[str, Any]:
    """Settings that make Orthanc a DICOMweb server, under the path /dicom-web."""
    return {"Plugins": [str(_DICOMWEB)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}}


def _configuration(server: Orthanc, storage: Path) -> dict[str, Any]:
    return {
        "Name": "test",
        "StorageDirectory": str(storage / "store"),
        "IndexDirectory": str(storage / "store"),
        "DicomAet": server.ae_title,
        "DicomPort": server.dicom_port,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowEcho": True,
        "DicomCheckCalledAet": False,
        "HttpPort": server.http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [],
        "HttpThreadsCount": 4,
    }


def _wait_until_ready(server: Orthanc, process: subprocess.Popen[bytes], log: Path, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            server.get("/system")
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"Orthanc did not start: {log.read_text(errors='replace')[-2000:]}")


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """One Orthanc for the whole run; tests tell their instances apart by UID."""
    if MISSING:
        pytest.skip(MISSING)
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server
