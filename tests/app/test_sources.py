from pathlib import Path

import pytest

from ichd.app.sources import source_named
from ichd.domain.errors import SettingsError, UserError
from ichd.intake.ask.sources import WebSource
from ichd.settings import load_settings


def settings_with(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "ichd.toml"
    path.write_text('[[source]]\nname = "vna"\nkind = "dicomweb"\nurl = "https://vna/dicom-web"\n' + "\n".join(lines))
    return path


def test_a_secret_is_read_from_its_file_without_the_line_end(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    source = source_named("vna", load_settings(settings_with(tmp_path, f'token_file = "{tmp_path / "token"}"')))
    assert isinstance(source, WebSource)
    assert source.token == "s3cret"  # noqa: S105


def test_a_secret_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = load_settings(settings_with(tmp_path, f'password_file = "{tmp_path / "gone"}"'))
    with pytest.raises(UserError, match=r"secret file .*gone.* can't be read: No such file"):
        source_named("vna", settings)


def test_a_secret_and_a_file_for_it_contradict_one_another(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"source\.0.*give one of them"):
        load_settings(settings_with(tmp_path, 'token = "a"', 'token_file = "b"'))


def test_a_source_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no source 'pacs'; use one of vna"):
        source_named("pacs", load_settings(settings_with(tmp_path)))
