"""Settings: `ichd.toml`, then the environment, then secret files; every key typed, unknown keys refused.

Precedence, highest first: `ICHD_SECTION__KEY` in the environment; a file `SECTION__KEY` in `$CREDENTIALS_DIRECTORY`
(systemd credentials, Kubernetes secrets mounted as files); the TOML file; the defaults below. The defaults run by
themselves: SQLite and spool under ./var, everything on loopback, the demonstration model.
"""

import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings.exceptions import SettingsError as SourceError

from ichd.domain.errors import SettingsError

PREFIX = "ICHD_"
#: Names the settings file, and is no setting.
_CONFIG_VARIABLE = "ICHD_CONFIG"
SEARCHED = (Path("ichd.toml"), Path("/etc/ichd/ichd.toml"))

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


def load_settings(config: Path | None = None) -> Settings:
    """Read the settings from `config`, else `$ICHD_CONFIG`, else ./ichd.toml, else /etc/ichd/ichd.toml, else defaults.

    Raises:
        SettingsError: a file that was named is not there, is not TOML, or holds an unknown key or a bad value; the same
            of a variable or a credential file.
    """
    path = _find(config)
    _refuse_unknown_variables(os.environ)
    credentials = _read_credentials(os.environ)

    class FromFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            toml = (TomlConfigSettingsSource(settings_cls, path),) if path else ()
            return (init_settings, env_settings, _CredentialFiles(settings_cls, credentials), *toml)

    try:
        return FromFile()
    except ValidationError as error:
        raise SettingsError(_explain(error, path)) from None
    except SourceError as error:
        raise SettingsError(f"an {PREFIX} variable or credential for a list or table must be JSON: {error}") from None
    except ValueError as error:  # tomllib.TOMLDecodeError is one
        raise SettingsError(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise SettingsError(f"{path} can't be read: {error.strerror}") from None


class _CredentialFiles(EnvSettingsSource):
    """Credentials, read as if they were variables."""

    def __init__(self, settings_cls: type[BaseSettings], credentials: Mapping[str, str]) -> None:
        self._credentials = credentials
        super().__init__(settings_cls)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {f"{PREFIX}{name}".lower(): value for name, value in self._credentials.items()}


def _read_credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """The files named SECTION__KEY in $CREDENTIALS_DIRECTORY, by name."""
    folder = Path(environment.get("CREDENTIALS_DIRECTORY") or os.devnull)
    if not folder.is_dir():
        return {}
    credentials = {}
    for file in sorted(folder.iterdir()):
        if "__" not in file.name or not file.is_file():
            continue
        if f"{PREFIX}{file.name}".upper() not in _known_variables():
            raise SettingsError(f"the credential file {file} is no setting; did you mean {_nearest(file.name)}?")
        try:
            credentials[file.name] = file.read_text(encoding="utf-8").strip()
        except UnicodeDecodeError:
            raise SettingsError(f"the credential file {file} is not text; write the value alone, in UTF-8") from None
        except OSError as error:
            raise SettingsError(f"the credential file {file} can't be read: {error.strerror}") from None
    return credentials


def _find(config: Path | None) -> Path | None:
    named = config or (Path(value) if (value := os.environ.get(_CONFIG_VARIABLE)) else None)
    if named is not None:
        if not named.is_file():
            raise SettingsError(f"the settings file {named} is not there; correct --config or ICHD_CONFIG")
        return named
    return next((path for path in SEARCHED if path.is_file()), None)


def _refuse_unknown_variables(environment: Mapping[str, str]) -> None:
    """pydantic-settings ignores variables that match nothing; a mistyped one must not be silently without effect.

    A variable is meant as a setting when it has our separator or begins with the name of a section; others may share
    the prefix.
    """
    sections = tuple(f"{PREFIX}{section}".upper() for section in Settings.model_fields)
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name == _CONFIG_VARIABLE or name.upper() in _known_variables():
            continue
        if "__" in name or name.upper().startswith(sections):
            raise SettingsError(
                f"the environment variable {name} is no setting; did you mean {PREFIX}{_nearest(name)}?"
            )


def _known_variables() -> frozenset[str]:
    return frozenset(f"{PREFIX}{'__'.join(path)}".upper() for path in key_paths())


def _nearest(name: str) -> str:
    """The known SECTION__KEY that looks most like this one."""
    known = _known_variables()
    asked = f"{PREFIX}{name.upper().removeprefix(PREFIX)}"
    return get_close_matches(asked, known, n=1, cutoff=0.0)[0].removeprefix(PREFIX)


def key_paths() -> Iterator[tuple[str, ...]]:
    """Every key that a variable can set: ("dicom", "port"), ("destination",), and whole sections as JSON."""
    for section, field in Settings.model_fields.items():
        yield (section,)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            for key in field.annotation.model_fields:
                yield (section, key)


def _explain(error: ValidationError, path: Path | None) -> str:
    where = str(path) if path else "the environment"
    errors = error.errors(include_url=False)
    # A mistyped key often also leaves a required one missing; the typo is what the person must see.
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    keys = [str(part) for part in first["loc"]]
    name = ".".join(keys)
    if first["type"] == "extra_forbidden":
        siblings = sorted(_fields_at(keys[:-1]))
        nearest = get_close_matches(keys[-1], siblings, n=1, cutoff=0.0)
        return f"{where}: unknown key {name}; did you mean {'.'.join([*keys[:-1], *nearest])}?"
    if first["type"] == "missing":
        return f"{where}: {name} is missing; add it"
    return f"{where}: {name}: {_plain(first)}"


def _plain(error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    given = error.get("input")
    return f"{message} (given: {given!r})" if isinstance(given, str | int | float | bool) else message


def _fields_at(keys: list[str]) -> frozenset[str]:
    """Names of the fields of the model that `keys` lead to; list indices are skipped."""
    model: type[BaseModel] = Settings
    for key in keys:
        if key.isdigit():
            continue
        annotation = model.model_fields[key].annotation
        candidates = (annotation, *get_args(annotation))
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return frozenset(model.model_fields)
