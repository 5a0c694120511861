"""Settings: `ichd.toml`, then the environment, then secret files; every key typed, unknown keys refused.

Precedence, highest first: `ICHD_SECTION__KEY` in the environment; a file `SECTION__KEY` in `$CREDENTIALS_DIRECTORY`
(systemd credentials, Kubernetes secrets mounted as files); the TOML file; the defaults. They run by
themselves: SQLite and spool under ./var, everything on loopback, the demonstration model.
"""

from ichd.settings.destinations import DestinationSettings, FeedbackSettings
from ichd.settings.dicom import AllowedPeer, DicomSettings, SourceSettings, TlsClientSettings, TlsSettings
from ichd.settings.sections import (
    AuditSettings,
    DatabaseSettings,
    LogSettings,
    ModelSettings,
    Settings,
    SpoolSettings,
    StudySettings,
    TickSettings,
    WorkerSettings,
)
from ichd.settings.sources import load_settings
from ichd.settings.web import AccountSettings, OidcSettings, WebSettings

__all__ = [
    "AccountSettings",
    "AllowedPeer",
    "AuditSettings",
    "DatabaseSettings",
    "DestinationSettings",
    "DicomSettings",
    "FeedbackSettings",
    "LogSettings",
    "ModelSettings",
    "OidcSettings",
    "Settings",
    "SourceSettings",
    "SpoolSettings",
    "StudySettings",
    "TickSettings",
    "TlsClientSettings",
    "TlsSettings",
    "WebSettings",
    "WorkerSettings",
    "load_settings",
]
