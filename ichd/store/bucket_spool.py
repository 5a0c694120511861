"""A spool whose images live in a bucket; the folder of each machine is where they are written first, and kept at hand.

The same names and the same rows as without a bucket. What is added: an image that is not on this machine is brought,
a copy that is damaged here is replaced by the one in the bucket, and what the bucket does not have yet is owed to it.
"""

import hashlib
import secrets
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from ichd.domain.errors import Permanent, Transient, UserError
from ichd.domain.reason import Reason
from ichd.store.bucket import CONNECTIONS, Bucket
from ichd.store.disk import PARTIAL, disk_trouble, write_durably, write_once
from ichd.store.draft import StoredFile
from ichd.store.spool import Spool
from ichd.store.sweeping import orphans_of
from ichd.store.uploads import Uploads

_log = structlog.get_logger(__name__)


class BucketSpool(Spool):
    """Safe for any number of threads and processes, and for any number of machines with a folder each."""

    def __init__(self, root: Path, bucket: Bucket, uploads: Uploads, *, at_once: bool) -> None:
        """With `at_once` an image is in the bucket before it is acknowledged; else it may be owed to it by then."""
        super().__init__(root)
        self._bucket = bucket
        self._uploads = uploads
        self._removals = uploads.removals
        self._at_once = at_once
        self._machine: str | None = None
        #: Whether the last image that was to be secured was.
        self._is_open = False

    @property
    def place(self) -> str:
        """What a person calls it."""
        return self._bucket.url

    @property
    def machine(self) -> str:
        """The code of this machine's folder, made at first use: host names of containers change, the folder stays.

        Raises:
            Transient: the folder can't be written.
        """
        if self._machine is None:
            self._machine = write_once(self.root, ".machine", secrets.token_hex(8))
        return self._machine

    @property
    def bucket(self) -> Bucket:
        """The bucket itself."""
        return self._bucket

    @property
    def at_once(self) -> bool:
        """Whether an image is in the bucket before it is acknowledged."""
        return self._at_once

    @property
    def debtor(self) -> str | None:
        """This machine: a row comes before its object, and whatever happens in between, somebody is to bring it."""
        return self.machine

    def owner(self) -> str | None:
        """As the bucket says."""
        return self._bucket.owner()

    def adopt(self, code: str) -> str:
        """Write the code into the bucket."""
        return self._bucket.adopt(code)

    def holds_images(self) -> bool:
        """Whether the bucket does."""
        return not self._bucket.is_empty()

    def move_in(self, code: str) -> None:
        """Let this machine's folder belong to the database that the bucket belongs to.

        Raises:
            UserError: it belongs to another one, or holds images of which nothing is known.
            Transient: the folder can't be written.
        """
        mark = super().owner()
        if mark is None and super().holds_images():
            raise UserError(
                f"the folder {self.root} holds images, but nothing says of which database; set spool.folder to an "
                "empty folder, which is filled from the bucket as images are needed"
            )
        if (mark or super().adopt(code)) != code:
            raise UserError(f"the folder {self.root} belongs to another database; set spool.folder to an empty folder")

    def outgrown_by(self, code: str) -> str | None:
        """The machine of a folder that was the whole spool of a database, where the bucket is new; else None.

        Raises:
            Transient: the folder or the bucket can't be read.
        """
        return self.machine if super().owner() == code and self._bucket.is_empty() else None

    def require_open(self) -> None:
        """Ask a bucket that failed last time, before an image is taken that it would have to have.

        Else every image of an outage would be refused and yet kept.

        Raises:
            Transient: the bucket does not answer.
        """
        if self._at_once and not self._is_open:
            self._bucket.require()

    def secure(self, stored: StoredFile) -> bool:
        """Bring an image to the bucket where that comes before the answer; returns whether it does.

        Never before its row is committed, nor while a removal of the same bytes is owed: what is brought then stays.

        Raises:
            Transient: the bucket does not answer; the file is still here.
            Permanent: FILE_DAMAGED, what was just written is not what is read.
        """
        if not self._at_once:
            return False
        try:
            self._removals.wait_for(stored, self._bucket.remove)
            self.upload(stored)
        except Transient:
            self._is_open = False
            raise
        self._is_open = True
        return True

    def upload(self, stored: StoredFile) -> None:
        """Bring a file of this machine to the bucket; to do it twice changes nothing.

        Raises:
            Permanent: FILE_DAMAGED, it is gone or no longer what it was: the bucket never gets such bytes.
            Transient: the bucket or the disk does not answer.
        """
        with disk_trouble():
            try:
                content = self.locate(stored.path).read_bytes()
            except FileNotFoundError as error:
                if super().owner() is None:
                    raise Transient(Reason.STORE_UNAVAILABLE, f"spool: {self.root} is not mounted") from error
                raise Permanent(Reason.FILE_DAMAGED, f"{stored.path} is missing") from error
        if hashlib.sha256(content).hexdigest() != stored.sha256:
            raise Permanent(Reason.FILE_DAMAGED, f"{stored.path} differs from the bytes that were received")
        self._bucket.put(stored, content)

    def bring(self, files: Collection[StoredFile]) -> None:
        """Make sure that files lie on this machine, whole; what is damaged here is replaced by what is in the bucket.

        What is damaged, or gone, in both places stays so: whoever reads it finds that out and says so.

        Raises:
            Transient: the bucket, the database or the disk does not answer; NOT_UPLOADED, another machine has not
                brought one there yet.
        """
        if not files:
            return
        with ThreadPoolExecutor(min(CONNECTIONS, len(files)), thread_name_prefix="bring") as pool:
            brought = pool.map(lambda stored: super(BucketSpool, self).is_intact(stored) or self._fetch(stored), files)
            absent = [stored for stored, here in zip(files, brought, strict=True) if not here]
        elsewhere = self._elsewhere(absent)
        if elsewhere:
            raise Transient(Reason.NOT_UPLOADED, f"{len(elsewhere)} of {len(files)} images")

    def is_intact(self, stored: StoredFile) -> bool:
        """Whether the very bytes that were stored are still to be had; one that another machine has yet to bring is.

        Raises:
            Transient: the bucket, the database or the disk does not answer.
        """
        return super().is_intact(stored) or self._fetch(stored) or bool(self._elsewhere([stored]))

    def set_aside(self, stray: StoredFile) -> bool:
        """Copy an object beside this machine's folder, where files without a row are kept.

        False where it is gone, or is not what its name says: then nothing is written.

        Raises:
            Transient: the bucket or the disk does not answer.
        """
        content = self._bucket.fetch(stray)
        if content is None or hashlib.sha256(content).hexdigest() != stray.sha256:
            return False
        with disk_trouble():
            orphans = orphans_of(self.root)
        write_durably(orphans / f"{stray.sha256}.dcm", content)
        return True

    def has_copy(self, stored: StoredFile) -> bool:
        """Whether this machine's own copy of an image is whole; the bucket is not asked.

        Raises:
            Transient: the disk does not say.
        """
        return super().is_intact(stored)

    @property
    def has_bucket(self) -> bool:
        """They do."""
        return True

    def remove_owed(self) -> int:
        """Remove the objects of images that were dropped; copies of other machines stay until they are evicted.

        Raises:
            Transient: the bucket or the database does not answer; what is left stays owed.
        """
        return self._removals.work_off(self._bucket.remove)

    def evict(self, stored: StoredFile) -> bool:
        """Remove this machine's copy of an image that the bucket has; returns whether there is none here now.

        Raises:
            Transient: the bucket, the database or the disk does not answer.
        """
        if self._uploads.owed([stored.path]) or not self._bucket.holds(stored):
            return False
        self.discard(stored.path)
        return True

    def _fetch(self, stored: StoredFile) -> bool:
        """Put the bucket's copy in place; False where it has none, or not the right one."""
        content = self._bucket.fetch(stored)
        if content is None:
            return False
        if hashlib.sha256(content).hexdigest() != stored.sha256:
            _log.error("bucket_object_damaged", key=self._bucket.key(stored))
            return False
        target = self.locate(stored.path)
        if not self._prepared:
            self.prepare()
        # Under a name that the sweep knows. Not synced: what a loss of power leaves of it is fetched again.
        draft = target.with_name(f"{secrets.token_hex(16)}{PARTIAL}")
        with disk_trouble():
            replaced = target.exists()
            try:
                draft.write_bytes(content)
                draft.chmod(0o640)
                draft.replace(target)
            finally:
                draft.unlink(missing_ok=True)
        if replaced:
            _log.warning("damaged_file_replaced_from_bucket", file=stored.path)
        return True

    def _elsewhere(self, absent: Sequence[StoredFile]) -> list[str]:
        """Paths of those that another machine has, and has not brought yet."""
        owed = self._uploads.owed([stored.path for stored in absent]) if absent else {}
        return [path for path, machine in owed.items() if machine != self.machine]
