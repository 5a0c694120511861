"""An S3-compatible server on a free loopback port: moto's, with real HTTP in between."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ichd.store.bucket import Bucket
from ichd.store.draft import StoredFile
from tests.peers.ports import free_port


class S3Absent(Exception):
    """moto is not here."""


@dataclass(kw_only=True)
class S3:
    """The server, which can be away for a while: what it holds stays."""

    port: int
    _server: Any = field(default=None)
    #: One client for all: a new one reads the models of its library for half a second.
    _client: Any = field(default=None)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    @contextmanager
    def away(self) -> Iterator[None]:
        self.stop()
        try:
            yield
        finally:
            self.start()

    def bucket(self, name: str, prefix: str = "ichd") -> Bucket:
        bucket = Bucket(f"s3://{name}/{prefix}", endpoint=self.endpoint, access_key="key", secret_key="secret")  # noqa: S106
        self._client = self._client or bucket._files
        bucket._files = self._client
        return bucket

    def make(self, name: str) -> Bucket:
        """A bucket that is there, and empty."""
        bucket = self.bucket(name)
        bucket._files.call_s3("create_bucket", Bucket=name)
        return bucket


def overwrite(bucket: Bucket, stored: StoredFile, content: bytes) -> None:
    """What no bucket should do: change an object."""
    bucket._files.call_s3("put_object", Bucket=bucket._bucket, Key=bucket.key(stored), Body=content)


@contextmanager
def running_s3() -> Iterator[S3]:
    """A server for as long as the block lasts.

    Raises:
        S3Absent: moto is not installed.
    """
    try:
        import moto.server  # noqa: F401 - looked for
    except ModuleNotFoundError as error:
        raise S3Absent(f"{error.name} is not installed") from error
    server = S3(port=free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()
