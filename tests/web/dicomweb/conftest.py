"""One small study behind the pages, for all tests that only look at it."""

from collections.abc import Iterator
from io import BytesIO

import pytest
from fastapi.testclient import TestClient
from pydicom import dcmread
from pydicom.dataset import FileDataset

from tests.web.archive import Archive, slices


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """A study of four slices."""
    archive = Archive(tmp_path_factory.mktemp("retrieve"))
    for content in slices():
        archive.file(content)
    return archive


@pytest.fixture(scope="module")
def viewer(archive: Archive) -> Iterator[TestClient]:
    with archive.client() as client:
        yield client


@pytest.fixture(scope="module")
def sources() -> list[FileDataset]:
    return [dcmread(BytesIO(content)) for content in slices()]
