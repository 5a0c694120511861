"""Settings: precedence, and errors that name the mend."""

import os
from pathlib import Path

import pytest

from ichd.domain.errors import SettingsError
from ichd.settings import load_settings


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [n for n in os.environ if n.startswith("ICHD_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.chdir(tmp_path)


def write(folder: Path, text: str) -> Path:
    path = folder / "ichd.toml"
    path.write_text(text)
    return path


def test_without_any_file_everything_is_local() -> None:
    settings = load_settings()
    assert settings.dicom.ae_title == "ICHD"
    assert (settings.dicom.host, settings.dicom.port) == ("127.0.0.1", 11112)
    assert (settings.web.host, settings.web.port) == ("127.0.0.1", 8642)
    assert settings.database.url == "sqlite:///var/ichd.db"
    assert settings.model.bundle == "phantom-demo"
    assert settings.destination == ()


def test_a_file_in_the_working_folder_is_found(tmp_path: Path) -> None:
    write(tmp_path, "[dicom]\nport = 104\n")
    assert load_settings().dicom.port == 104


def test_the_named_file_wins_over_the_variable_and_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "[dicom]\nport = 1\n")
    by_variable, by_option = tmp_path / "b.toml", tmp_path / "c.toml"
    by_variable.write_text("[dicom]\nport = 2\n")
    by_option.write_text("[dicom]\nport = 3\n")
    monkeypatch.setenv("ICHD_CONFIG", str(by_variable))
    assert load_settings().dicom.port == 2
    assert load_settings(by_option).dicom.port == 3


def test_the_environment_overrides_one_key_and_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, '[dicom]\nport = 104\nae_title = "TRIAGE"\n')
    monkeypatch.setenv("ICHD_DICOM__PORT", "11113")
    settings = load_settings(path)
    assert (settings.dicom.port, settings.dicom.ae_title) == (11113, "TRIAGE")


def test_a_secret_can_come_from_a_credential_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "DATABASE__URL").write_text("postgresql://ichd:secret@db/ichd\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert load_settings().database.url == "postgresql://ichd:secret@db/ichd"
    monkeypatch.setenv("ICHD_DATABASE__URL", "sqlite:///other.db")
    assert load_settings().database.url == "sqlite:///other.db"


def test_destinations_are_a_list_of_tables(tmp_path: Path) -> None:
    path = write(tmp_path, '[[destination]]\nname = "pacs"\naddress = "[::1]:104"\nae_title = "PACS"\n')
    (pacs,) = load_settings(path).destination
    assert (pacs.host, pacs.port, pacs.ae_title, pacs.sends) == ("::1", 104, "PACS", ("sr", "ko", "sc"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[dicom]\nprot = 104\n", ("unknown key dicom.prot", "dicom.port")),
        ("[dicmo]\nport = 104\n", ("unknown key dicmo", "dicom")),
        ('[[destination]]\nname = "a"\nadress = "h:1"\nae_title = "P"\n', ("destination.0.adress", "address")),
        ('[[destination]]\nname = "a"\nae_title = "P"\n', ("destination.0", "needs address")),
        ('[[destination]]\nname = "a"\naddress = "h:1"\n', ("destination.0", "needs ae_title")),
        ('[[destination]]\nname = "a"\nkind = "stow"\n', ("destination.0", "needs url")),
        ('[[destination]]\nname = "a"\nkind = "webhook"\nurl = "https://h"\n', ("destination.0", "secret_file")),
        (
            '[[destination]]\nname = "a"\nkind = "hl7"\naddress = "h:1"\nsend = ["sr"]\n',
            ("can't send sr", "priority, result"),
        ),
        (
            '[[destination]]\nname = "a"\nkind = "stow"\nurl = "http://h"\nconfirm = "commitment"\n',
            ("no storage commitment", "read_back"),
        ),
        (
            '[[destination]]\nname = "a"\nkind = "stow"\nurl = "http://h"\ntoken = "t"\ntoken_file = "f"\n',
            ("token and token_file", "one of them"),
        ),
        ('[[destination]]\nname = "a"\naddress = "host"\nae_title = "P"\n', ("destination.0.address", "host")),
        ('[[destination]]\nname = "a"\naddress = "h:65536"\nae_title = "P"\n', ("destination.0.address", "65535")),
        ('[dicom]\nport = "x"\n', ("dicom.port", "integer", "'x'")),
        ('[dicom]\nae_title = "SEVENTEEN LETTERS"\n', ("dicom.ae_title",)),
        ("[dicom\n", ("is not TOML",)),
        (
            '[[web.account]]\nname = "a"\nsecret = "x"\nrole = "boss"\n',
            ("web.account", "viewer", "operator", "admin"),
        ),
        ('[web]\nnames = "everybody"\n', ("web.names", "nobody")),
        ('[web.oidc]\nissuer = "http://sso.example"\nclient_id = "x"\nroles = {}\n', ("web.oidc", "https")),
        (
            '[web.oidc]\nissuer = "https://sso.example"\nclient_id = "x"\nroles = {}\nscopes = "email"\n',
            ("web.oidc", "openid"),
        ),
        ('[web]\nhost = "0.0.0.0"\n', ("web", "beyond loopback", "account", "ichd secret")),
        (
            '[web]\nhost = "0.0.0.0"\n[[web.account]]\nname = "pacs"\nsecret = "x"\n',
            ("web", "beyond loopback", "certificate", "behind_tls"),
        ),
        ("[web]\nbehind_tls = true\n", ("web", "behind_tls", "account", "ichd secret")),
        ('[[source]]\nname = "pacs"\nae_title = "PACS"\n', ("source.0", "address")),
        ('[[source]]\nname = "pacs"\nkind = "dicomweb"\n', ("source.0", "url")),
        ('[[dicom.allowed_peers]]\naddress = "10.1.2"\n', ("allowed_peers.0.address", "10.1.2", "10.1.0.0/16")),
        ('[model]\ndevice = "gpu"\n', ("model.device", "gpu")),
        ("[study]\nmax_slices = 1001\n", ("study.max_slices", "1000")),
        (
            '[[destination]]\nname = "a"\naddress = "h:1"\nae_title = "P"\n'
            '[[destination]]\nname = "a"\naddress = "h:2"\nae_title = "P"\n',
            ("same name", "give each its own"),
        ),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, parts: tuple[str, ...]) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    for part in (*parts, str(path)):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mistyped_variable_is_refused_and_the_nearest_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICHD_STUDY__QUITE_PERIOD_S", "3")
    with pytest.raises(SettingsError, match="did you mean ICHD_STUDY__QUIET_PERIOD_S"):
        load_settings()


def test_a_variable_with_a_forgotten_separator_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICHD_DICOM_PORT", "104")
    with pytest.raises(SettingsError, match="did you mean ICHD_DICOM__PORT"):
        load_settings()


def test_a_variable_that_only_shares_the_prefix_is_nobodys_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICHD_TEST_DATA", "/somewhere")
    monkeypatch.setenv("ICHD_HOME", "/elsewhere")
    assert load_settings().dicom.port == 11112


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "credentials"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("DATABASE__URL", b"\xff\xfe", ("is not text",)),
        ("DATABASE__ULR", b"sqlite:///a.db", ("is no setting", "did you mean DATABASE__URL?")),
    ],
)
def test_a_bad_credential_file_is_named(credentials: Path, name: str, content: bytes, parts: tuple[str, ...]) -> None:
    (credentials / name).write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    for part in (*parts, str(credentials / name)):
        assert part in str(caught.value)


def test_a_bad_value_is_blamed_on_what_gave_it(
    tmp_path: Path, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "[dicom]\nport = 104\n")
    (credentials / "DICOM__PORT").write_text("none")
    with pytest.raises(SettingsError, match=r"^the credential file DICOM__PORT: dicom\.port"):
        load_settings(path)
    monkeypatch.setenv("ICHD_DICOM__PORT", "nothing")
    with pytest.raises(SettingsError, match=r"^the environment variable ICHD_DICOM__PORT: dicom\.port"):
        load_settings(path)
    monkeypatch.delenv("ICHD_DICOM__PORT")
    monkeypatch.setenv("ICHD_DICOM", '{"host": 1}')
    with pytest.raises(SettingsError, match=r"^the environment variable ICHD_DICOM: dicom\.host"):
        load_settings(path)


def test_files_beside_the_credentials_are_left_alone(credentials: Path) -> None:
    (credentials / "tls-key").write_bytes(b"\xff")
    assert load_settings().database.url == "sqlite:///var/ichd.db"


@pytest.mark.parametrize(("host", "reached"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.0.0.7", "10.0.0.7")])  # noqa: S104
def test_a_listener_on_every_interface_is_reached_by_loopback(tmp_path: Path, host: str, reached: str) -> None:
    path = write(tmp_path, f'[dicom]\nhost = "{host}"\n')
    assert load_settings(path).dicom.local_host == reached


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is not there"):
        load_settings(tmp_path / "absent.toml")


def test_a_list_in_a_variable_must_be_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICHD_DESTINATION", "pacs")
    with pytest.raises(SettingsError, match="must be JSON"):
        load_settings()


@pytest.mark.parametrize(
    ("tick", "words"),
    [
        ("commission_h = 24.0", "go together"),
        ('commission_h = 24.0\ncommission_to = "nobody"', "no destination of kind dimse or stow"),
        ('commission_h = 24.0\ncommission_to = "ris"', "no destination of kind dimse or stow"),
    ],
)
def test_only_what_can_be_asked_is_commissioned_by_the_clock(tmp_path: Path, tick: str, words: str) -> None:
    config = tmp_path / "ichd.toml"
    destination = '[[destination]]\nname = "ris"\nkind = "hl7"\naddress = "ris:2575"\n'
    config.write_text(f"[tick]\n{tick}\n{destination}")
    with pytest.raises(SettingsError, match=words):
        load_settings(config)
