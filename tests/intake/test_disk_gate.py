"""The gate of the doors: shut from the high watermark on, open again by itself below the low one."""

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.domain.retention import Watermarks
from ichd.intake.disk_gate import DiskGate
from ichd.store.spool import Spool
from tests.intake.conftest import OpenHouse
from tests.intake.images import encode, image
from tests.intake.senders import SUCCESS
from tests.intake.test_scp import uid

MARKS = Watermarks(high=0.9, low=0.5)
OUT_OF_RESOURCES = 0xA700


class Disk:
    def __init__(self) -> None:
        self.used = 0.0

    def free_fraction(self) -> float:
        return 1 - self.used


def test_between_the_marks_it_stays_as_it_was_and_each_turn_is_said_once() -> None:
    disk = Disk()
    gate = DiskGate(disk.free_fraction, MARKS)
    seen = []
    with capture_logs() as logs:
        for used in (0.4, 0.7, 0.9, 0.95, 0.7, 0.51, 0.49, 0.7):
            disk.used = used
            seen.append(gate.look().is_shut)
    assert seen == [False, False, True, True, True, True, False, False]
    assert [entry["event"] for entry in logs] == ["intake_shut", "intake_open"]


def test_threads_that_meet_a_full_disk_say_it_once() -> None:
    disk = Disk()
    disk.used = 1.0
    gate = DiskGate(disk.free_fraction, MARKS)
    with capture_logs() as logs, ThreadPoolExecutor(8) as pool:
        assert all(state.is_shut for state in pool.map(lambda _: gate.look(), range(200)))
    assert [entry["event"] for entry in logs] == ["intake_shut"]


def test_a_shut_gate_says_how_full_the_disk_is() -> None:
    disk = Disk()
    disk.used = 0.93
    with pytest.raises(Transient, match=r"93.0% of the disk is used, less than 50.0% must be") as refused:
        DiskGate(disk.free_fraction, MARKS).require_open()
    assert refused.value.reason is Reason.DISK_LOW


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four mebibytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]).returncode:  # noqa: PLW1510
        pytest.skip("only root mounts a disk of four mebibytes")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_the_door_shuts_on_a_full_disk_and_opens_by_itself(small_disk: Path, open_house: OpenHouse) -> None:
    house = open_house(spool=Spool(small_disk / "spool"), watermarks=MARKS)
    others = small_disk / "others"
    with house.sender() as sender:
        assert sender.store(encode(image(1)), uid(1)).status == SUCCESS
        others.write_bytes(bytes(3 << 20))
        assert sender.store(encode(image(2)), uid(2)).status == SUCCESS, "three quarters are below the high mark"
        others.write_bytes(bytes(3 << 20) + bytes(800 << 10))
        assert sender.store(encode(image(3)), uid(3)).status == OUT_OF_RESOURCES
        others.write_bytes(bytes(3 << 20))
        assert sender.store(encode(image(3)), uid(3)).status == OUT_OF_RESOURCES, "it is above the low mark still"
        others.unlink()
        assert sender.store(encode(image(3)), uid(3)).status == SUCCESS
    assert house.count() == 3
