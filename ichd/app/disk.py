"""From settings to how full the spool's disk may become, and how long images stay there; nothing of the pipeline."""

from datetime import timedelta

from ichd.domain.retention import RetentionPolicy, Watermarks
from ichd.settings import Settings


def watermarks(settings: Settings) -> Watermarks:
    """How full the spool's disk may become."""
    return Watermarks(high=settings.spool.high_watermark, low=settings.spool.low)


def retention_policy(settings: Settings) -> RetentionPolicy:
    """How long images are kept."""
    days = settings.spool.retention_days
    return RetentionPolicy(
        watermarks=watermarks(settings),
        keep_for=None if days is None else timedelta(days=days),
        makes_room=not settings.spool.is_bucket,
    )
