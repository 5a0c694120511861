"""An S3-compatible bucket as the far end of the spool: objects named by what they hold, written once and never changed.

    <prefix>/sha256/<first two digits>/<checksum>.dcm     an image
    <prefix>/.owner                                       the code of the database that the bucket belongs to

A name that follows from the content makes every step repeatable: to put an object twice changes nothing, and whoever
fetches one can check it against its own name.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

from ichd.domain.errors import Transient, UserError
from ichd.domain.reason import Reason
from ichd.store.draft import StoredFile

_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*?))?/*")
#: Seconds to reach the server, and between two signs of life of an answer.
_CONNECT_S, _READ_S = 5, 20
#: Threads that bring or take away at once; so many connections are kept.
CONNECTIONS = 16


class Bucket:
    """Safe for any number of threads of one process; each process opens its own.

    Every method raises Transient (STORE_UNAVAILABLE) where the bucket does not answer, or does not let us in. Nothing
    is tried twice: only the queue and the uploader try again.
    """

    def __init__(
        self, url: str, *, endpoint: str | None = None, access_key: str | None = None, secret_key: str | None = None
    ) -> None:
        """Nothing is asked of the server yet.

        Raises:
            UserError: the URL names no bucket, or the library for it is missing.
        """
        parts = _URL.fullmatch(url)
        if parts is None:
            raise UserError("spool.url names no bucket; write s3://BUCKET or s3://BUCKET/PREFIX")
        try:
            import s3fs
        except ModuleNotFoundError as error:
            raise UserError(f"the library for spool.url is missing ({error}); pip install 'ichd[s3]'") from error
        self.url = url.rstrip("/")
        self._bucket, self._prefix = parts[1], f"{parts[2]}/" if parts[2] else ""
        self._files: Any = s3fs.S3FileSystem(
            key=access_key,
            secret=secret_key,
            endpoint_url=endpoint,
            skip_instance_cache=True,
            use_listings_cache=False,
            config_kwargs={
                "connect_timeout": _CONNECT_S,
                "read_timeout": _READ_S,
                "max_pool_connections": CONNECTIONS,
                "retries": {"total_max_attempts": 1},
                # Ours is the checksum; others' defaults are what servers that are not Amazon's stumble over.
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            },
        )
        self._files.retries = 1

    def put(self, stored: StoredFile, content: bytes) -> None:
        """Store an object whole, or not at all; when this returns, the bucket has it.

        The checksum goes with it, so that a server that knows how refuses what was damaged on the way.
        """
        digest = base64.b64encode(bytes.fromhex(stored.sha256)).decode()
        with _named("put"):
            self._files.call_s3(
                "put_object", Bucket=self._bucket, Key=self.key(stored), Body=content, ChecksumSHA256=digest
            )

    def fetch(self, stored: StoredFile) -> bytes | None:
        """What the object holds, as the server gives it; None where there is no such object."""
        return self._content(self.key(stored))

    def holds(self, stored: StoredFile) -> bool:
        """Whether there is such an object, with its size."""
        with _named("look"):
            try:
                head = self._files.call_s3("head_object", Bucket=self._bucket, Key=self.key(stored))
            except FileNotFoundError:
                self._require()
                return False
        return int(head["ContentLength"]) == stored.size

    def remove(self, stored: StoredFile) -> None:
        """Remove an object; it may be gone already."""
        with _named("remove"):
            self._files.call_s3("delete_object", Bucket=self._bucket, Key=self.key(stored))

    def require(self) -> None:
        """Make sure that the bucket is there and answers."""
        with _named("reach"):
            self._require()

    def owner(self) -> str | None:
        """The code of the database that the bucket belongs to; None where it has not been given one."""
        mark = self._content(f"{self._prefix}.owner")
        return None if mark is None else mark.decode("utf-8", "replace").strip()

    def adopt(self, code: str) -> str:
        """Write the code of its database into a bucket that has none; returns the code that it has then.

        Of two who come at once the first one stays, where the server knows conditional writes; Amazon's and MinIO do.
        """
        with _named("write to"):
            try:
                body = f"{code}\n".encode()
                key = f"{self._prefix}.owner"
                self._files.call_s3("put_object", Bucket=self._bucket, Key=key, Body=body, IfNoneMatch="*")
            except OSError:
                # Somebody was faster, and then there is a code; or it can't be written, and then there is none.
                if self.owner() is None:
                    raise
        return self.owner() or ""

    def is_empty(self) -> bool:
        """Whether it holds no image of ours."""
        return next(self.objects(), None) is None

    def objects(self) -> Iterator[tuple[str, int]]:
        """Checksum and size of every object, in the order of the checksums, a page of the listing at a time."""
        wanted: dict[str, Any] = {"Bucket": self._bucket, "Prefix": f"{self._prefix}sha256/"}
        while True:
            with _named("list"):
                page = self._files.call_s3("list_objects_v2", **wanted)
            for each in page.get("Contents", ()):
                yield PurePosixPath(each["Key"]).stem, int(each["Size"])
            if not page.get("IsTruncated"):
                return
            wanted["ContinuationToken"] = page["NextContinuationToken"]

    def rehearse(self) -> None:
        """Write, read back and remove a small object: what every image will ask for."""
        content = secrets.token_bytes(64)
        stored = StoredFile(path="rehearsal.test", sha256=hashlib.sha256(content).hexdigest(), size=len(content))
        self.put(stored, content)
        if self.fetch(stored) != content:
            raise Transient(Reason.STORE_UNAVAILABLE, "bucket: what was written is not what is read back")
        self.remove(stored)

    def key(self, stored: StoredFile) -> str:
        """The name of an object in the bucket."""
        suffix = PurePosixPath(stored.path).suffix
        return f"{self._prefix}sha256/{stored.sha256[:2]}/{stored.sha256}{suffix}"

    def _content(self, key: str) -> bytes | None:
        with _named("read"):
            try:
                # In one piece: to fetch one in parts costs a question for its size first.
                content: bytes = self._files.cat_file(f"{self._bucket}/{key}", max_concurrency=1)
            except FileNotFoundError:
                self._require()
                return None
        return content

    def _require(self) -> None:
        """A bucket that is gone, or spelt wrongly, must not look like one that lost its objects."""
        try:
            self._files.call_s3("head_bucket", Bucket=self._bucket)
        except FileNotFoundError as error:
            raise Transient(Reason.STORE_UNAVAILABLE, f"bucket: there is no bucket {self._bucket}") from error


@contextmanager
def _named(verb: str) -> Iterator[None]:
    """Name trouble of the bucket; what the server says of a request may hold its keys, so the kind is all that is told.

    Raises:
        Transient: STORE_UNAVAILABLE.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (OSError, BotoCoreError, ClientError, TimeoutError) as error:
        raise Transient(Reason.STORE_UNAVAILABLE, f"bucket: can't {verb} it: {type(error).__name__}") from error
