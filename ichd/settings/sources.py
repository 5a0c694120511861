"""Where settings come from: a TOML file, credential files, the environment."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    TomlConfigSettingsSource,
)
from pydantic_settings.exceptions import SettingsError as SourceError

from ichd.domain.errors import SettingsError
from ichd.settings.mistakes import explain, known_variables, nearest
from ichd.settings.sections import PREFIX, Settings

#: Names the settings file, and is no setting.
_CONFIG_VARIABLE = "ICHD_CONFIG"
SEARCHED = (Path("ichd.toml"), Path("/etc/ichd/ichd.toml"))


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
        raise SettingsError(explain(error, lambda name: _origin(name, credentials, path))) from None
    except SourceError as error:
        raise SettingsError(f"an {PREFIX} variable or credential for a list or table must be JSON: {error}") from None
    except ValueError as error:  # tomllib.TOMLDecodeError is one
        raise SettingsError(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise SettingsError(f"{path} can't be read: {error.strerror}") from None


def _origin(name: str, credentials: Mapping[str, str], path: Path | None) -> str:
    """Which of the sources gave the value of SECTION__KEY, for a message; the one that wins."""
    for asked in (name, name.partition("__")[0]):
        variable = next((v for v in os.environ if v.upper() == f"{PREFIX}{asked}"), None)
        if variable is not None:
            return f"the environment variable {variable}"
        file = next((c for c in credentials if c.upper() == asked), None)
        if file is not None:
            return f"the credential file {file}"
    return str(path) if path else "the environment"


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
        if f"{PREFIX}{file.name}".upper() not in known_variables():
            raise SettingsError(f"the credential file {file} is no setting; did you mean {nearest(file.name)}?")
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
    sections = tuple(f"{PREFIX}{section}_".upper() for section in Settings.model_fields)
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name == _CONFIG_VARIABLE or name.upper() in known_variables():
            continue
        if "__" in name or name.upper().startswith(sections):
            raise SettingsError(f"the environment variable {name} is no setting; did you mean {PREFIX}{nearest(name)}?")
