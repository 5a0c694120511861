"""The tables. Facts of images, states of studies, the queue, findings, receipts, audit; never who the patient is.

Text columns have no length: PostgreSQL would refuse what SQLite takes, and a limit is intake's decision. Ids are 64
bits wide. Indices serve five questions that must stay fast with a million studies: which job is next, which lease
expired, which studies still receive, what arrived last, and what a person searches.
"""

from ichd.store.columns import Base
from ichd.store.tables.arrivals import AnnouncementRow, ArrivalRow, AssociationRow, CommitmentRow, RefusalRow
from ichd.store.tables.audit import AuditCursorRow, AuditRow
from ichd.store.tables.sessions import WebSessionRow
from ichd.store.tables.studies import ConflictRow, InstanceRow, RemovalRow, SeriesRow, StudyRow, UploadRow
from ichd.store.tables.upkeep import BaselineRow, StatisticRow, TickRow
from ichd.store.tables.work import (
    DestinationRow,
    FindingRow,
    InstallationRow,
    JobRow,
    PromiseRow,
    ReceiptRow,
    RenditionRow,
    ReviewRow,
)

__all__ = [
    "AnnouncementRow",
    "ArrivalRow",
    "AssociationRow",
    "AuditCursorRow",
    "AuditRow",
    "Base",
    "BaselineRow",
    "CommitmentRow",
    "ConflictRow",
    "DestinationRow",
    "FindingRow",
    "InstallationRow",
    "InstanceRow",
    "JobRow",
    "PromiseRow",
    "ReceiptRow",
    "RefusalRow",
    "RemovalRow",
    "RenditionRow",
    "ReviewRow",
    "SeriesRow",
    "StatisticRow",
    "StudyRow",
    "TickRow",
    "UploadRow",
    "WebSessionRow",
]
