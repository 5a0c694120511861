"""`ichd bucket`: the bucket and the rows held against one another, and what of it can be mended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ichd.app.storage import Storage
from ichd.domain.errors import UserError
from ichd.store.bucket_spool import BucketSpool
from ichd.store.draft import StoredFile
from ichd.store.inventory import Inventory, owe_removal_of_unnamed, take_inventory
from ichd.store.named_files import owner_code
from ichd.store.uploads import Backlog, Uploads

#: From here on what is owed to the bucket has waited too long; deploy/prometheus says the same.
LATE = timedelta(minutes=15)
#: Of each kind that `BucketReport.to_dict` names.
_SHOWN = 100


@dataclass(frozen=True, kw_only=True)
class Mended:
    """What `ichd bucket --mend` did."""

    #: Objects without a row that are now beside this machine's folder.
    set_aside: int
    #: Objects of dropped images that are gone now.
    removed: int
    #: Missing images of which this machine has a whole copy, and owes it now.
    owed_again: int


@dataclass(frozen=True, kw_only=True)
class BucketReport:
    """What was found, before anything was mended."""

    inventory: Inventory
    #: By machine.
    owed: dict[str, Backlog]
    #: None where nothing was to be mended.
    mended: Mended | None

    @property
    def lost(self) -> int:
        """Images that the bucket lacks and that this machine could not give it, or was not asked to."""
        return len(self.inventory.missing) - (self.mended.owed_again if self.mended else 0)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        found, mended = self.inventory, self.mended
        return {
            "objects": found.objects,
            "forgotten": _named(found.forgotten),
            "dropped": _named(found.dropped),
            "missing": {
                "images": len(found.missing),
                "bytes": sum(image.stored.size for image in found.missing),
                "first": [
                    {"study_uid": image.study_uid, "sha256": image.stored.sha256, "file": image.stored.path}
                    for image in found.missing[:_SHOWN]
                ],
            },
            "owed": {machine: backlog_shape(backlog) for machine, backlog in self.owed.items()},
            "mended": None
            if mended is None
            else {"set_aside": mended.set_aside, "removed": mended.removed, "owed_again": mended.owed_again},
            "lost": self.lost,
        }


def look_into_bucket(storage: Storage, *, mend: bool, now: datetime) -> BucketReport:
    """Compare, and with `mend` put right what can be.

    An object without a row is copied beside this machine's folder before it is removed: a database that was restored
    has forgotten images that were acknowledged. An object of a dropped image is removed. An image that the bucket lacks
    is owed to it again by this machine, where its copy here is whole.

    Raises:
        UserError: the spool has no bucket, or one that belongs to another database.
        Transient: the database, the bucket or the disk does not answer; what was mended until then is.
    """
    spool = storage.spool
    if not isinstance(spool, BucketSpool):
        raise UserError("spool.url names no bucket but a folder, which the workers sweep by themselves")
    with storage.engine.connect() as connection:
        code = owner_code(connection)
    if code is None or spool.owner() != code:
        raise UserError(f"the bucket {spool.place} does not belong to this database; correct spool.url or database.url")
    uploads = Uploads(storage.engine)
    found = take_inventory(storage.engine, spool.bucket)
    owed = dict(uploads.backlogs())
    mended = _mend(storage, spool, uploads, found, now) if mend else None
    return BucketReport(inventory=found, owed=owed, mended=mended)


def backlog_shape(backlog: Backlog) -> dict[str, Any]:
    """As JSON."""
    since = None if backlog.oldest is None else backlog.oldest.isoformat()
    return {"images": backlog.files, "bytes": backlog.bytes, "since": since}


def backlog_in_words(backlogs: dict[str, Backlog], *, now: datetime) -> str:
    """What is owed to a bucket, for a person; `backlogs` by machine, one at least."""
    parts = [
        f"machine {machine} owes it {each.files} image{'' if each.files == 1 else 's'} "
        f"({each.bytes / 1e6:.1f} MB), the oldest for {_age(each, now).total_seconds() / 60:.0f} min"
        for machine, each in sorted(backlogs.items())
    ]
    return "; ".join(parts)


def check_backlog(storage: Storage, *, now: datetime) -> str:
    """Whether what is owed to the bucket gets there.

    Raises:
        UserError: some of it has waited for `LATE`; names the machine, and the mend.
        Transient: the database does not answer.
    """
    backlogs = dict(Uploads(storage.engine).backlogs())
    if not backlogs:
        return "the bucket has all that was acknowledged"
    words = backlog_in_words(backlogs, now=now)
    if max(_age(each, now) for each in backlogs.values()) >= LATE:
        raise UserError(
            f"{words}; see that `ichd listen` or `ichd web` runs there (the code of a machine is in "
            "<spool.folder>/.machine), and what its log says of uploading"
        )
    return words


def _mend(storage: Storage, spool: BucketSpool, uploads: Uploads, found: Inventory, now: datetime) -> Mended:
    aside = [stray for stray in found.forgotten if spool.set_aside(stray)]
    here = [image.stored for image in found.missing if spool.has_copy(image.stored)]
    uploads.owe(here, spool.machine, now=now)
    mended = Mended(
        set_aside=owe_removal_of_unnamed(storage.engine, aside, now=now),
        removed=owe_removal_of_unnamed(storage.engine, found.dropped, now=now),
        owed_again=len(here),
    )
    spool.remove_owed()
    return mended


def _age(backlog: Backlog, now: datetime) -> timedelta:
    return timedelta() if backlog.oldest is None else max(timedelta(), now - backlog.oldest)


def _named(objects: Sequence[StoredFile]) -> dict[str, Any]:
    return {
        "objects": len(objects),
        "bytes": sum(each.size for each in objects),
        "first": [each.sha256 for each in objects[:_SHOWN]],
    }
