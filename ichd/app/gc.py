"""`ichd gc`: retention now, and what it leaves where it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ichd.app.disk import retention_policy
from ichd.app.storage import Storage
from ichd.domain.retention import Cause, RetentionPolicy
from ichd.settings import Settings
from ichd.store.kept import Amount, Kept, kept, studies_with_images
from ichd.store.retention import Dropped, Retention


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What went, or would go, and what stays."""

    dropped: Dropped
    #: By the reason for which they must stay.
    kept: Mapping[Kept, Amount]
    #: Studies that could go and are not due.
    not_due: int
    policy: RetentionPolicy
    is_plan: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        dropped = self.dropped
        return {
            "dry_run": self.is_plan,
            "dropped": {str(cause): _shape(dropped.by[cause]) for cause in Cause},
            "first": [
                {
                    "study_uid": candidate.study_uid,
                    "finished_at": candidate.finished_at.isoformat(),
                    "images": candidate.amount.images,
                    "bytes": candidate.amount.bytes,
                    "why": str(cause),
                }
                for candidate, cause in dropped.first
            ],
            "kept": {str(reason): _shape(amount) for reason, amount in self.kept.items()},
            "not_due": {"studies": self.not_due},
            "disk": {
                "used_before": round(dropped.used_before, 4),
                "used_after": round(dropped.used_after, 4),
                "dropping_from": round(self.policy.watermarks.dropping_from, 4),
                "low_watermark": self.policy.watermarks.low,
                "still_short": dropped.still_short,
            },
        }


def collect(settings: Settings, storage: Storage, *, dry_run: bool, now: datetime) -> Collected:
    """Drop what is due, or with `dry_run` only say what that is.

    Raises:
        Transient: the database or the disk fails; what was dropped until then stays dropped.
    """
    policy = retention_policy(settings)
    retention = Retention(storage.engine, storage.spool, policy)
    dropped = retention.plan(now) if dry_run else retention.run(now)
    must_stay = kept(storage.engine)
    bound = sum(amount.studies for amount in must_stay.values())
    due = dropped.total.studies if dry_run else 0
    return Collected(
        dropped=dropped,
        kept=must_stay,
        not_due=max(0, studies_with_images(storage.engine) - bound - due),
        policy=policy,
        is_plan=dry_run,
    )


def _shape(amount: Amount) -> dict[str, int]:
    return {"studies": amount.studies, "images": amount.images, "bytes": amount.bytes}
