"""The keys of ichd.toml, with their types, defaults and meanings."""

from pathlib import Path
from typing import Literal, Self, TypeVar

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ichd.settings.base import Address, Seconds, Section, existing_port
from ichd.settings.destinations import DestinationSettings, FeedbackSettings
from ichd.settings.dicom import DicomSettings, SourceSettings
from ichd.settings.web import WebSettings

#: Of the variables that are settings.
PREFIX = "ICHD_"


class DatabaseSettings(Section):
    """Where the queue and the results live."""

    url: str = Field(default="sqlite:///var/ichd.db", description="SQLAlchemy URL of SQLite or PostgreSQL.")


class SpoolSettings(Section):
    """Where received images live, and for how long."""

    url: str = Field(
        default="var/spool", description="Folder for received images, or bucket of an object store: s3://BUCKET/PREFIX."
    )
    folder: Path = Field(
        default=Path("var/spool"), description="With a bucket, where images are written first and kept at hand."
    )
    durability: Literal["local", "remote"] = Field(
        default="local",
        description="With a bucket, when an image is acknowledged: once it is on this disk, or in the bucket too.",
    )
    endpoint: str | None = Field(default=None, description="URL of an S3-compatible server; Amazon's when left out.")
    access_key: str | None = Field(default=None, description="Access key; the usual places of AWS when left out.")
    secret_key: str | None = Field(default=None, description="Its secret.")
    retention_days: float | None = Field(
        default=None, gt=0, description="Images of a finished study are dropped after so long; never when left out."
    )
    high_watermark: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="Used share of the disk from which images are refused with 0xA700, and old ones are dropped.",
    )
    low_watermark: float = Field(
        default=0.85, gt=0, le=1, description="Used share below which images are taken again, and no more are dropped."
    )
    outbox_days: float = Field(
        default=7.0,
        gt=0,
        description="For so long reports stay as they were sent, once they are.",
    )

    @property
    def is_bucket(self) -> bool:
        """Whether images end in an object store, and not in a folder."""
        return "://" in self.url

    @property
    def root(self) -> Path:
        """The folder on this machine where images are written first."""
        return self.folder if self.is_bucket else Path(self.url)

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.is_bucket and not self.url.startswith("s3://"):
            raise ValueError(f"url {self.url!r} is neither a folder nor a bucket; write a path, or s3://BUCKET/PREFIX")
        if not self.is_bucket and self.durability == "remote":
            raise ValueError('durability = "remote" needs a bucket; set url to s3://BUCKET/PREFIX')
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("access_key and secret_key go together; give both or none")
        # A site that only ever set the high one must not be turned away for a default.
        if "low_watermark" in self.model_fields_set and self.low_watermark > self.high_watermark:
            raise ValueError("low_watermark is above high_watermark; images would never be taken again")
        return self

    @property
    def low(self) -> float:
        """`low_watermark`, never above `high_watermark`."""
        return min(self.low_watermark, self.high_watermark)


class StudySettings(Section):
    """When a study is complete, and which series is read."""

    quiet_period_s: Seconds = Field(default=2.0, description="Quiet after the last association was released.")
    interrupted_period_s: Seconds = Field(default=20.0, description="Quiet after the last association broke.")
    silent_period_s: Seconds = Field(default=120.0, description="Silence while an association stays open.")
    require_head: bool = Field(default=True, description="Read only series whose pixels look like a head.")
    min_slices: int = Field(default=10, ge=1, description="Distinct slice positions that a series needs.")
    min_coverage_mm: float = Field(default=80.0, ge=0, description="Length that the slices must cover, mm.")
    max_slices: int = Field(
        default=1000, ge=1, le=1000, description="Most slice positions of a series that is read. Of thick slices 400."
    )


class ModelSettings(Section):
    """What reads the images."""

    bundle: str = Field(default="phantom-demo", description="Name of a shipped bundle, or the path of a bundle folder.")
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N.")
    engine: Literal["auto", "torch", "openvino", "cuda"] = Field(
        default="auto", description="auto, torch, openvino or cuda; auto is the quickest that the machine has."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = Field(
        default="auto", description="auto, fp32, bf16, fp16 or int8; auto is the engine's choice, bf16 where it can."
    )
    cache: str = Field(
        default="var/engine-cache", description="Folder of converted models, so that the next start is quick."
    )
    promoted: str = Field(
        default="var/models", description="Folder of promoted models, which `ichd model promote` copies there."
    )
    reference: str = Field(
        default="", description="What a candidate is measured on: a folder of packed studies, or phantoms."
    )
    threads: int | None = Field(default=None, ge=1, description="CPU threads of the engine; all cores when left out.")
    allow_demo: bool = Field(
        default=False, description="Let results of a demonstration model go to destinations that are not loopback."
    )


class WorkerSettings(Section):
    """How the worker works."""

    poll_s: Seconds = Field(default=0.2, description="How often an idle worker looks for work, seconds.")
    lease_s: float = Field(default=15.0, ge=3, description="A job whose worker is silent for so long is given away.")
    grace_s: Seconds = Field(default=20.0, description="How long a stopping worker may finish its job.")
    retry_first_s: Seconds = Field(default=2.0, description="Wait before the second attempt; doubles each time.")
    retry_ceiling_s: Seconds = Field(default=300.0, description="Longest wait between two attempts.")
    max_attempts: int = Field(default=300, ge=1, description="Attempts before a reading is dead.")
    deaths_allowed: int = Field(
        default=2, ge=1, description="A study over which so many workers died, one after the other, is dead."
    )
    concurrency: int = Field(default=1, ge=1, description="Workers side by side, a process each; GPUs are dealt out.")
    time_limit_s: Seconds = Field(
        default=900.0, description="A job that takes longer is ended with its process, and tried again."
    )
    memory_mb: int | None = Field(
        default=None, ge=256, description="Resident memory, MiB, at which a worker is replaced between two jobs."
    )
    ahead: bool = Field(default=True, description="Let an idle worker embed slices of studies that still arrive.")
    heat_maps: bool = Field(default=True, description="Let an idle worker make heat maps of what was found.")


class AuditSettings(Section):
    """Where the audit trail is handed on to, beside our database: a syslog collector (PS3.15 A.5, RFC 5424)."""

    syslog: Address | None = Field(default=None, description="HOST:PORT of the collector; nobody when left out.")
    transport: Literal["tls", "tcp", "udp"] = Field(default="tls", description="RFC 5425, RFC 6587 or RFC 5426.")
    ca: Path | None = Field(default=None, description="Authorities that we trust: a PEM file; the system's otherwise.")
    certificate: Path | None = Field(default=None, description="Our certificate, where the collector wants one: PEM.")
    key: Path | None = Field(default=None, description="Its private key: PEM.")

    @field_validator("syslog")
    @classmethod
    def _port_exists(cls, value: str | None) -> str | None:
        return None if value is None else existing_port(value)


class TickSettings(Section):
    """What happens by the clock; one worker of all does it."""

    self_test_h: float | None = Field(
        default=24.0, gt=0, description="How often the live model reads a stored phantom, hours; never when left out."
    )
    self_test_tolerance: float = Field(
        default=0.02, gt=0, le=1, description="Drift of its probabilities from which it is an alert."
    )
    certificate_days: float = Field(
        default=30.0, ge=0, description="A certificate that ends within so many days is an alert."
    )
    commission_h: float | None = Field(
        default=None, gt=0, description="How often a phantom takes the live route to an archive and back, hours."
    )
    commission_to: str | None = Field(default=None, description="The destination that is then asked for the report.")


class LogSettings(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Lowest level written.")
    format: Literal["auto", "console", "json"] = Field(
        default="auto", description="auto: console on a terminal, json in a pipe."
    )


Named = TypeVar("Named", tuple[DestinationSettings, ...], tuple[SourceSettings, ...])


class Settings(BaseSettings):
    """All sections."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    dicom: DicomSettings = DicomSettings()
    database: DatabaseSettings = DatabaseSettings()
    spool: SpoolSettings = SpoolSettings()
    study: StudySettings = StudySettings()
    model: ModelSettings = ModelSettings()
    worker: WorkerSettings = WorkerSettings()
    web: WebSettings = WebSettings()
    tick: TickSettings = TickSettings()
    log: LogSettings = LogSettings()
    audit: AuditSettings = AuditSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    source: tuple[SourceSettings, ...] = ()
    destination: tuple[DestinationSettings, ...] = ()

    @model_validator(mode="after")
    def _commissions_a_destination(self) -> Self:
        tick = self.tick
        if (tick.commission_h is None) != (tick.commission_to is None):
            raise ValueError("tick.commission_h and tick.commission_to go together; give both or none")
        asked = [each.kind in {"dimse", "stow"} for each in self.destination if each.name == tick.commission_to]
        if tick.commission_to is not None and asked != [True]:
            raise ValueError(
                f"tick.commission_to is {tick.commission_to!r}, which is no destination of kind dimse or stow"
            )
        return self

    @field_validator("destination", "source")
    @classmethod
    def _names_are_unique(cls, value: Named, info: ValidationInfo) -> Named:
        names = [one.name for one in value]
        if len(set(names)) < len(names):
            raise ValueError(f"two {info.field_name}s have the same name; give each its own")
        return value
