"""The keys of ichd.toml, with their types, defaults and meanings."""

from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

#: Of the variables that are settings.
PREFIX = "ICHD_"

#: PS3.5 6.2: 1 to 16 characters of the default repertoire, no backslash, not only spaces.
AETitle = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[ -\[\]-~]{1,16}$")]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A table of ichd.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AllowedPeer(Section):
    """Who may send. A peer matches when both of what is given match."""

    ae_title: AETitle | None = Field(default=None, description="Calling AE title; any when left out.")
    address: str | None = Field(default=None, description="IP address or CIDR network; any when left out.")

    @field_validator("address")
    @classmethod
    def _can_be_matched(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                ip_network(value, strict=False)
            except ValueError:
                raise ValueError("is no IP address and no network; write 10.1.2.3 or 10.1.0.0/16") from None
        return value


class DicomSettings(Section):
    """The listener."""

    ae_title: AETitle = Field(default="ICHD", description="Our AE title, as listener and as sender.")
    host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 for every interface.")
    port: Port = Field(default=11112, description="Port to listen on; 0 for a free one.")
    allowed_peers: tuple[AllowedPeer, ...] = Field(default=(), description="Who may send; anybody when empty.")
    max_associations: int = Field(default=32, ge=1, description="Associations served at the same time.")
    max_pdu: int = Field(
        default=131072, ge=4096, le=1 << 20, description="Longest PDU that peers are asked to send, bytes."
    )
    max_instance_mb: int = Field(default=64, ge=1, description="Largest data set that we take, MiB.")
    network_timeout_s: Seconds = Field(default=30.0, description="Silence after which a connection is dropped.")

    @property
    def local_host(self) -> str:
        """Where this machine reaches the listener: one on every interface answers on loopback too."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound


class DatabaseSettings(Section):
    """Where the queue and the results live."""

    url: str = Field(default="sqlite:///var/ichd.db", description="SQLAlchemy URL of SQLite or PostgreSQL.")


class SpoolSettings(Section):
    """Where received images live."""

    url: str = Field(default="var/spool", description="Folder for received images.")
    high_watermark: float = Field(
        default=0.95, gt=0, le=1, description="Used share of the disk from which images are refused with 0xA700."
    )


class StudySettings(Section):
    """When a study is complete, and which series is read."""

    quiet_period_s: Seconds = Field(default=2.0, description="Quiet after the last association was released.")
    interrupted_period_s: Seconds = Field(default=20.0, description="Quiet after the last association broke.")
    silent_period_s: Seconds = Field(default=120.0, description="Silence while an association stays open.")
    require_head: bool = Field(default=True, description="Read only series whose pixels look like a head.")
    min_slices: int = Field(default=10, ge=1, description="Distinct slice positions that a series needs.")
    min_coverage_mm: float = Field(default=80.0, ge=0, description="Length that the slices must cover, mm.")
    max_slices: int = Field(default=400, ge=1, le=400, description="Most slices that are read in one series.")


class ModelSettings(Section):
    """What reads the images."""

    bundle: str = Field(default="phantom-demo", description="Name of a shipped bundle, or the path of a bundle folder.")
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N.")
    engine: Literal["auto", "torch"] = Field(
        default="auto", description="Inference engine; torch is the only one so far, and what auto chooses."
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
    max_attempts: int = Field(default=300, ge=1, description="Attempts before a job is dead and waits for a person.")


class WebSettings(Section):
    """The status page. It has no log-in yet, so it listens on loopback only."""

    host: Literal["127.0.0.1", "::1", "localhost"] = Field(default="127.0.0.1", description="Loopback address.")
    port: Port = Field(default=8642, description="Port of the page; 0 for a free one.")


class LogSettings(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Lowest level written.")
    format: Literal["auto", "console", "json"] = Field(
        default="auto", description="auto: console on a terminal, json in a pipe."
    )


class DestinationSettings(Section):
    """One receiver of reports."""

    name: str = Field(min_length=1, max_length=64, description="Name in lists and receipts; unique.")
    kind: Literal["dimse"] = Field(default="dimse", description="dimse: C-STORE.")
    address: str = Field(pattern=r"^.+:\d{1,5}$", description="HOST:PORT of the receiver.")
    ae_title: AETitle = Field(description="AE title of the receiver.")
    send: tuple[Literal["sr"], ...] = Field(default=("sr",), min_length=1, description="Objects to send.")
    timeout_s: Seconds = Field(default=30.0, description="Longest wait for any answer of the receiver.")

    @field_validator("address")
    @classmethod
    def _port_exists(cls, value: str) -> str:
        if not 0 < int(value.rpartition(":")[2]) < 1 << 16:
            raise ValueError("has a port that doesn't exist; ports go from 1 to 65535")
        return value

    @property
    def host(self) -> str:
        """The part of the address before its last colon."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The part of the address after its last colon."""
        return int(self.address.rpartition(":")[2])


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
    log: LogSettings = LogSettings()
    destination: tuple[DestinationSettings, ...] = ()

    @field_validator("destination")
    @classmethod
    def _names_are_unique(cls, value: tuple[DestinationSettings, ...]) -> tuple[DestinationSettings, ...]:
        names = [d.name for d in value]
        if len(set(names)) < len(names):
            raise ValueError("two destinations have the same name; give each its own")
        return value
