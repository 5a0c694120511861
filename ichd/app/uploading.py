"""The uploader beside the doors of a role, where the spool has a bucket."""

from collections.abc import Iterator
from contextlib import contextmanager

from ichd.app.clock import clock_of
from ichd.app.storage import Storage
from ichd.intake.uploader import Uploader
from ichd.store.bucket_spool import BucketSpool
from ichd.store.uploads import Uploads


@contextmanager
def uploading(storage: Storage) -> Iterator[None]:
    """Within the block what this machine owes to the bucket is brought there.

    Also where images are acknowledged no earlier than that: some may be owed from before the setting was changed.
    """
    if not isinstance(storage.spool, BucketSpool):
        yield
        return
    uploader = Uploader(storage.spool, Uploads(storage.engine), clock_of(storage.engine))
    uploader.start()
    try:
        yield
    finally:
        uploader.stop()
