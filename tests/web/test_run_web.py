"""The role: starts on a free port, says so, answers, stops when told."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ichd.app.web import run_web
from ichd.domain.errors import UserError
from ichd.settings import DatabaseSettings, ModelSettings, Settings, SpoolSettings, WebSettings
from ichd.store.engine import migrate


def settings_for(folder: Path, port: int, *, migrated: bool = True) -> Settings:
    url = f"sqlite:///{folder / 'ichd.db'}"
    if migrated:
        migrate(url)
    return Settings(
        database=DatabaseSettings(url=url),
        spool=SpoolSettings(url=str(folder / "spool")),
        model=ModelSettings(bundle=str(folder / "no-bundle")),
        web=WebSettings(port=port),
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(settings: Settings) -> Iterator[str]:
    stop = threading.Event()
    thread = threading.Thread(target=run_web, args=(settings, stop))
    thread.start()
    address = f"http://127.0.0.1:{settings.web.port}"
    try:
        _wait_for(address)
        yield address
    finally:
        started = time.monotonic()
        stop.set()
        thread.join(5)
        assert not thread.is_alive()
        assert time.monotonic() - started < 3


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{address}/healthz")
        except httpx.ConnectError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("the page did not come up")


def test_the_role_starts_answers_and_stops(tmp_path: Path) -> None:
    with running(settings_for(tmp_path, free_port())) as address:
        assert httpx.get(f"{address}/healthz").json()["ok"] is True
        # An open connection must not keep the role from stopping.
        with httpx.Client() as kept_alive:
            assert kept_alive.get(address).status_code == 200

    with pytest.raises(httpx.ConnectError):
        httpx.get(address)


def test_a_missing_model_is_said_on_the_page_and_makes_the_role_unready(tmp_path: Path) -> None:
    with running(settings_for(tmp_path, free_port())) as address:
        page, ready = httpx.get(address), httpx.get(f"{address}/readyz")

    assert page.status_code == 200
    assert "No model:" in page.text
    assert ready.status_code == 503
    assert ready.json()["checks"]["model"]["ok"] is False
    assert ready.json()["checks"]["disk"]["ok"] is True


def test_a_stalled_reader_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    with running(settings_for(tmp_path, free_port())) as address:
        half_asked = socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])))
        half_asked.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        time.sleep(0.1)
    half_asked.close()


def test_a_taken_port_is_an_error_that_names_the_setting(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = settings_for(tmp_path, taken.getsockname()[1])

        with pytest.raises(UserError, match=r"web\.port"):
            run_web(settings, threading.Event())


def test_another_schema_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ichd migrate"):
        run_web(settings_for(tmp_path, free_port(), migrated=False), threading.Event())


def test_the_role_loads_no_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys, ichd.app.web; print([m for m in ('torch', 'timm', 'highdicom') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert loaded.stdout.strip() == "[]"
