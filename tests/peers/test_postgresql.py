"""A PostgreSQL that is absent skips tests; one that does not work must not."""

from pathlib import Path

import pytest

from tests.peers import postgresql
from tests.peers.postgresql import PostgresqlAbsent, running_postgresql


def test_without_the_programs_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "glob", lambda *_: [])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PostgresqlAbsent, match="not installed"), running_postgresql(tmp_path / "server"):
        pass


def test_programs_that_fail_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "initdb").write_text("#!/bin/sh\necho no room left >&2\nexit 1\n")
    (tmp_path / "initdb").chmod(0o755)
    monkeypatch.setattr(postgresql, "_programs", lambda: tmp_path)
    monkeypatch.setattr(postgresql, "_account", lambda: None)
    with pytest.raises(RuntimeError, match="initdb failed: no room left"), running_postgresql(tmp_path / "server"):
        pass
