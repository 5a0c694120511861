"""`ichd worker --concurrency`: real processes that say when they are ready, and stop at a word."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from ichd.app.ear import Ear
from tests.app.test_supervise import wait_until
from tests.cli.test_main import SHARED_CACHE, ichd
from tests.cli.test_serve import settings


def test_several_workers_are_told_apart_and_stop_together_however_often_they_are_told(tmp_path: Path) -> None:
    config = settings(tmp_path, '[log]\nformat = "json"\n')
    assert ichd("migrate", "--config", str(config), cwd=tmp_path).returncode == 0
    ear = Ear()
    environment = {**os.environ, **SHARED_CACHE, "NOTIFY_SOCKET": ear.address}
    log = tmp_path / "log"
    with log.open("wb") as out:
        workers = subprocess.Popen(
            [sys.executable, "-m", "ichd", "--config", str(config), "worker", "--concurrency", "2"],
            cwd=tmp_path,
            env=environment,
            stderr=out,
            stdin=subprocess.DEVNULL,
        )
    try:
        heard: set[str] = set()

        def all_are_ready() -> bool:
            heard.update(ear.hear())
            return "STATUS=worker-1 ready, worker-2 ready" in heard

        wait_until(all_are_ready, 600)
        assert "READY=1" in heard
        for _ in range(2):
            workers.send_signal(signal.SIGTERM)
        assert workers.wait(120) == 0
    finally:
        workers.kill()
        workers.wait()
        ear.close()
    said = log.read_text()
    for name in ("worker-1", "worker-2"):
        (stopped,) = [
            line for line in said.splitlines() if '"worker_stopped"' in line and f'"process": "{name}"' in line
        ]
        assert '"info"' in stopped
    assert "role_killed" not in said


def test_a_worker_that_is_still_converting_its_model_stops_at_a_word_and_leaves_nothing(tmp_path: Path) -> None:
    config = settings(tmp_path, '[log]\nformat = "json"\n[model]\ncache = "cache"\n')
    assert ichd("migrate", "--config", str(config), cwd=tmp_path).returncode == 0
    log = tmp_path / "log"
    with log.open("wb") as out:
        worker = subprocess.Popen(
            [sys.executable, "-m", "ichd", "--config", str(config), "worker"],
            cwd=tmp_path,
            stderr=out,
            stdin=subprocess.DEVNULL,
        )
    try:
        wait_until(lambda: "engine_converts" in log.read_text(), 600)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(120) == 0
    finally:
        worker.kill()
        worker.wait()
    said = log.read_text()
    assert "stopped_while_starting" in said
    assert "worker_ready" not in said
    assert list((tmp_path / "cache").iterdir()) == []
