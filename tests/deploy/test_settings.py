"""The example settings: the program reads them, and they say what they mean to say."""

import os
import tomllib
from pathlib import Path

import pytest

from ichd.domain.errors import SettingsError
from ichd.domain.role import Role
from ichd.settings import Settings, load_settings
from tests.deploy.tools import DEPLOY

EXAMPLES = ("ichd.toml", "cluster.toml")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tester's shell sets must not decide."""
    for name in [name for name in os.environ if name.startswith("ICHD_") and name != "ICHD_TEST_DATA"]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


def example(name: str) -> Settings:
    return load_settings(DEPLOY / name)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_program_reads_it(name: str) -> None:
    settings = example(name)
    assert settings.destination
    assert settings.dicom.allowed_peers
    assert settings.spool.low_watermark < settings.spool.high_watermark


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_key_that_does_not_exist_is_refused(name: str, tmp_path: Path) -> None:
    changed = tmp_path / "ichd.toml"
    changed.write_text((DEPLOY / name).read_text().replace("grace_s", "grace_seconds"))
    with pytest.raises(SettingsError, match="grace_s"):
        load_settings(changed)


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_commented_out_works_too(name: str, tmp_path: Path) -> None:
    lines = (DEPLOY / name).read_text().splitlines()
    code = ("# [", "# certificate =", "# key =", "# client_ca =")
    opened = tmp_path / "ichd.toml"
    opened.write_text("\n".join(line.removeprefix("# ") if line.startswith(code) else line for line in lines))
    settings = load_settings(opened)
    assert (settings.dicom.tls is not None) == (name == "ichd.toml")


def test_the_box_writes_only_where_its_unit_lets_it() -> None:
    settings = example("ichd.toml")
    database = Path(settings.database.url.removeprefix("sqlite:///"))
    for path in (database, settings.spool.root, Path(settings.model.cache), Path(settings.model.promoted)):
        assert path.is_relative_to("/var/lib/ichd")


def test_the_cluster_loses_nothing_with_a_machine() -> None:
    settings = example("cluster.toml")
    assert settings.database.url.startswith("postgresql://")
    assert settings.spool.is_bucket
    assert settings.spool.durability == "remote"
    assert settings.spool.root.is_relative_to("/var/lib/ichd")


def roles(settings: Settings) -> dict[str, Role]:
    return {account.name: account.role for account in settings.web.account}


@pytest.mark.parametrize("name", ["cluster.toml", "container/ichd.toml"])
def test_somebody_may_act_and_somebody_may_see_who_did(name: str) -> None:
    accounts = example(name).web.account
    assert any(account.role.may_as(Role.OPERATOR) for account in accounts)
    assert any(account.role.may_as(Role.ADMIN) for account in accounts)


@pytest.mark.parametrize("name", ["cluster.toml", "container/ichd.toml"])
def test_each_account_says_its_role(name: str) -> None:
    tables = tomllib.loads((DEPLOY / name).read_text())["web"]["account"]
    assert [table["name"] for table in tables if "role" not in table] == []


def test_accounts_of_the_cluster_may_no_more_than_they_need() -> None:
    settings = example("cluster.toml")
    assert roles(settings)["prometheus"] is Role.VIEWER
    assert roles(settings)["radiology"] is Role.VIEWER
    assert not any(account.stores for account in settings.web.account), "scanners have accounts of their own"


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_secret_stands_in_it(name: str) -> None:
    settings = example(name)
    assert settings.spool.secret_key is None
    assert "@" not in settings.database.url or ":" not in settings.database.url.partition("//")[2].partition("@")[0]
    assert all(each.password is None and each.token is None and each.secret is None for each in settings.destination)
