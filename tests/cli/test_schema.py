"""A daemon on another schema than its own does not start, and says which command mends that."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from ichd.store.engine import open_database
from tests.peers.ports import free_port
from tests.store.release import make_release

#: A loaded machine is slow, and timing decides no test.
PATIENCE_S = 400.0


@pytest.mark.parametrize(
    ("found", "roles"), [("0003", ("listen", "worker", "web", "serve")), ("9999", ("listen",))], ids=["older", "newer"]
)
def test_every_daemon_refuses_another_schema(tmp_path: Path, found: str, roles: tuple[str, ...]) -> None:
    url = f"sqlite:///{tmp_path}/ichd.db"
    engine = make_release(url, "0003")
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :found"), {"found": found})
    engine.dispose()
    config = tmp_path / "ichd.toml"
    config.write_text(
        f'[database]\nurl = "{url}"\n[spool]\nurl = "{tmp_path}/spool"\n'
        f"[dicom]\nport = {free_port()}\n[web]\nport = {free_port()}\n"
    )
    daemons = {role: started(role, config) for role in roles}
    for role, daemon in daemons.items():
        try:
            _, said = daemon.communicate(timeout=PATIENCE_S)
        finally:
            daemon.kill()
        assert daemon.returncode == 2, f"{role}: {said}"
        assert f"the database has schema {found}, this ichd needs 0005; run `ichd migrate`" in said, role

    assert not (tmp_path / "spool").exists()
    engine = open_database(url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == found
    engine.dispose()


def started(role: str, config: Path) -> subprocess.Popen[str]:
    """A daemon as an operator starts it; all of them at once, for most of a start is imports."""
    return subprocess.Popen(
        [sys.executable, "-m", "ichd", "--config", str(config), role],
        cwd=config.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
