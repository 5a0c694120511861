"""Peers and objects for the tests of this folder."""

from pathlib import Path

import pytest

from tests.peers.orthanc import orthanc
from tests.peers.storescp import receiver
from tests.publish.parcels import Outbox

__all__ = ["orthanc", "receiver"]


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    """Objects in files, made as they are asked for."""
    return Outbox(folder=tmp_path / "outbox")
