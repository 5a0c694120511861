"""What columns are made of: times in UTC, codes, keys; the same in SQLite and in PostgreSQL."""

from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Annotated, Any

from sqlalchemy import JSON, BigInteger, DateTime, Integer, MetaData, String
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.types import TypeDecorator

from ichd.domain.arrival import AnnouncementKind, CommitmentState, Door
from ichd.domain.audit import AuditEvent, AuditOutcome
from ichd.domain.completeness import Closing
from ichd.domain.delivery import ObjectKind, Proof
from ichd.domain.finding import Triage
from ichd.domain.job import JobKind, JobState
from ichd.domain.reason import Reason
from ichd.domain.review import Agreement, ReviewSource
from ichd.domain.role import Role
from ichd.domain.study import StudyState


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC datetimes in Python; `timestamptz` in PostgreSQL, UTC text that sorts by time in SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Refuse a naive time: nobody can say later which clock it was."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone can't be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """SQLite gives the text back without a zone, PostgreSQL in the session's zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Coded(TypeDecorator[StrEnum]):
    """An enumeration kept as its code, without a CHECK constraint: a new code must not need a migration."""

    impl = String
    cache_ok = True

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Only members have codes: a misspelt one must not be stored."""
        return None if value is None else self.kind(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:  # noqa: ARG002
        """The member of a code."""
        return None if value is None else self.kind(value)


class Numbered(TypeDecorator[IntEnum]):
    """The same for codes that a standard gives as numbers."""

    impl = Integer
    cache_ok = True

    def __init__(self, kind: type[IntEnum]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: IntEnum | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Only members have codes."""
        return None if value is None else self.kind(value).value

    def process_result_value(self, value: int | None, dialect: Dialect) -> IntEnum | None:  # noqa: ARG002
        """The member of a code."""
        return None if value is None else self.kind(value)


#: SQLite numbers rows by itself only where the key is exactly INTEGER.
_Key = BigInteger().with_variant(Integer, "sqlite")
Id = Annotated[int, mapped_column(_Key, primary_key=True)]


class Base(DeclarativeBase):
    """Common ground of the tables. Constraints have fixed names, by which SQLite's batch migrations address them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own name and form
        int: _Key,
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(none_as_null=True),
        list[str]: JSON(),
        list[list[str]]: JSON(),
        Door: Coded(Door),
        AnnouncementKind: Coded(AnnouncementKind),
        CommitmentState: Coded(CommitmentState),
        AuditEvent: Coded(AuditEvent),
        AuditOutcome: Numbered(AuditOutcome),
        StudyState: Coded(StudyState),
        Closing: Coded(Closing),
        Triage: Coded(Triage),
        Reason: Coded(Reason),
        JobKind: Coded(JobKind),
        JobState: Coded(JobState),
        ObjectKind: Coded(ObjectKind),
        Proof: Coded(Proof),
        Agreement: Coded(Agreement),
        ReviewSource: Coded(ReviewSource),
        Role: Coded(Role),
    }
