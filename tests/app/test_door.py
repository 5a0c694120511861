"""What a listener has loaded when it takes images: a scanner waits for each module of it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ichd.app.ear import Ear
from tests.app.test_supervise import wait_until
from tests.cli.test_main import ichd
from tests.cli.test_serve import settings

HEAVY = {
    "alembic",
    "apscheduler",
    "fastapi",
    "gdcm",
    "highdicom",
    "httpx",
    "numpy",
    "openvino",
    "pydicom",
    "pynetdicom",
    "scipy",
    "timm",
    "torch",
    "uvicorn",
}
_IMPORTED = re.compile(r"^import time: +\d+ \| +\d+ \| +(\w+)", re.MULTILINE)


def test_the_door_opens_before_what_it_does_not_need_is_loaded(tmp_path: Path) -> None:
    config = settings(tmp_path)
    assert ichd("migrate", "--config", str(config), cwd=tmp_path).returncode == 0
    ear, said = Ear(), tmp_path / "said"
    with said.open("wb") as out:
        door = subprocess.Popen(
            [sys.executable, "-X", "importtime", "-m", "ichd", "--config", str(config), "listen"],
            cwd=tmp_path,
            env={**os.environ, "NOTIFY_SOCKET": ear.address},
            stderr=out,
            stdin=subprocess.DEVNULL,
        )
    try:
        wait_until(lambda: "READY=1" in ear.hear(), 120)
        # Both go to one place, in the order in which they happen.
        wait_until(lambda: "pynetdicom" in _loaded(said.read_text()), 120)
    finally:
        door.kill()
        door.wait()
        ear.close()
    before, opened, _ = said.read_text().partition('"listening"')
    assert opened
    assert "sqlalchemy" in _loaded(before)
    assert _loaded(before) & HEAVY == set()


@pytest.mark.parametrize("module", ["ichd.cli.main, ichd.app.serve", "ichd.app.start_worker"])
def test_a_supervisor_and_a_worker_that_can_still_be_stopped_begin_with_little(module: str) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) & (HEAVY | {"sqlalchemy", "ichd.cli.tools"}) == set()


def _loaded(said: str) -> set[str]:
    return set(_IMPORTED.findall(said))
