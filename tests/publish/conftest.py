"""Peers for the tests of this folder."""

from tests.peers.orthanc import orthanc
from tests.peers.storescp import receiver

__all__ = ["orthanc", "receiver"]
