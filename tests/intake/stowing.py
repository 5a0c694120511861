"""A STOW-RS door behind a real HTTP server: in a thread of the test, or in a process of its own to be measured.

As a process: `python -m tests.intake.stowing FOLDER [--max-instance-bytes N]`; prints its port.
"""

import argparse
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from sqlalchemy import Engine, func
from sqlalchemy import select as sql_select
from sqlalchemy.orm import Session

from ichd.domain.retention import Watermarks
from ichd.intake.counter import Counter
from ichd.intake.feedback.key_objects import KeyObjects
from ichd.intake.part10 import file_meta
from ichd.intake.stow.door import StowConfig
from ichd.intake.stow.router import stow_router
from ichd.store.arrivals import Arrivals
from ichd.store.engine import migrate, open_database
from ichd.store.reviews import Reviews
from ichd.store.spool import Spool
from ichd.store.tables import Base, InstanceRow
from ichd.telemetry import configure_logging
from tests.intake.images import EXPLICIT, encode, image
from tests.intake.processes import serving

BOUNDARY = "a7c1f0e2-boundary"
CONTENT_TYPE = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


def utc_now() -> datetime:
    return datetime.now(UTC)


def file(number: int = 1, **attributes: Any) -> bytes:
    """One CT image as a DICOM file."""
    ds = image(number, **attributes)
    meta = file_meta(sop_class_uid=ds.SOPClassUID, sop_instance_uid=ds.SOPInstanceUID, transfer_syntax_uid=EXPLICIT)
    return meta + encode(ds)


def message(*parts: bytes, boundary: str = BOUNDARY) -> bytes:
    """A multipart body."""
    headed = (b"--%b\r\nContent-Type: application/dicom\r\n\r\n%b\r\n" % (boundary.encode(), part) for part in parts)
    return b"".join(headed) + b"--%b--\r\n" % boundary.encode()


@dataclass(kw_only=True)
class StowHouse:
    """The door, and the rooms behind it."""

    root: Path
    engine: Engine
    spool: Spool
    arrivals: Arrivals
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/dicom-web"

    def rows(self, table: type[Base]) -> list[Any]:
        with Session(self.engine) as session:
            return list(session.scalars(sql_select(table)))

    def count(self, table: type[Base] = InstanceRow) -> int:
        with Session(self.engine) as session:
            return session.scalar(sql_select(func.count()).select_from(table)) or 0

    def files(self) -> list[Path]:
        """Everything that lies in the spool, finished or not."""
        return [path for path in (self.root / "spool").rglob("*") if path.is_file()]


@contextmanager
def stow_house(
    root: Path,
    *,
    watermarks: Watermarks = Watermarks(high=1, low=1),  # noqa: B008
    max_instance_bytes: int = 64 << 20,
    max_request_bytes: int = 4 << 30,
    arrivals: type[Arrivals] = Arrivals,
    account_of: Callable[[Request], str] = lambda _: "clinic",
    **settings: Any,
) -> Iterator[StowHouse]:
    url = f"sqlite:///{root / 'ichd.db'}"
    migrate(url)
    engine = open_database(url)
    house = StowHouse(root=root, engine=engine, spool=Spool(root / "spool"), arrivals=arrivals(engine), port=0)
    counter = Counter(house.arrivals, house.spool, watermarks=watermarks, max_instance_bytes=max_instance_bytes)
    counter.open(now=datetime.now(UTC))
    config = StowConfig(place="web", max_request_bytes=max_request_bytes, **settings)
    app = FastAPI()
    key_objects = KeyObjects(Reviews(engine), house.arrivals)
    router = stow_router(config, counter, clock=utc_now, account_of=account_of, key_objects=key_objects)
    app.include_router(router)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))
    listener = socket.create_server(("127.0.0.1", 0))
    house.port = listener.getsockname()[1]
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield house
    finally:
        server.should_exit = True
        thread.join()
        counter.close()
        engine.dispose()


class RawClient:
    """A client that says exactly what a test wants."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def head(self, *headers: str, content_type: str = CONTENT_TYPE, path: str = "/dicom-web/studies") -> None:
        lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {content_type}", *headers, "", ""]
        self.send("\r\n".join(lines).encode())

    def send(self, content: bytes) -> None:
        self._socket.sendall(content)

    def chunk(self, content: bytes) -> None:
        self.send(b"%x\r\n%b\r\n" % (len(content), content))

    def status(self) -> int:
        """The status of the answer."""
        return int(self.answer().split(b" ", 2)[1])

    def answer(self) -> bytes:
        """The first piece of the answer, empty when the server hangs up without one."""
        return self._socket.recv(1 << 16)


def wait_until(condition: Any, *, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def stowing(folder: Path, *arguments: str) -> AbstractContextManager[tuple[subprocess.Popen[str], int]]:
    """A child process that serves, and its port; gone when the block ends."""
    return serving("tests.intake.stowing", str(folder), *arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--max-instance-bytes", type=int, default=64 << 20)
    options = parser.parse_args(arguments)
    configure_logging("error", "json")
    with stow_house(options.folder, max_instance_bytes=options.max_instance_bytes) as house:
        print(house.port, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
