"""DICOMweb as others speak it: dicomweb-client, and Orthanc's plug-in as a client, each with an account."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from dicomweb_client import DICOMwebClient
from dicomweb_client.session_utils import create_session, create_session_from_user_pass
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset
from requests.exceptions import HTTPError
from sqlalchemy import select
from sqlalchemy.orm import Session

from ichd.domain.audit import AuditEvent
from ichd.domain.role import Role
from ichd.settings import AccountSettings, DatabaseSettings, ModelSettings, Settings, SpoolSettings, WebSettings
from ichd.store.engine import migrate, open_database
from ichd.store.tables import AssociationRow, AuditRow, Base, InstanceRow
from ichd.web.access.secret import hash_password, new_token
from tests.peers.orthanc import DICOMWEB_MISSING, dicomweb_client_of, running_orthanc
from tests.peers.ports import free_port
from tests.web.archive import slices
from tests.web.test_run_web import running

PASSWORD = "a password of a test"  # noqa: S105
TOKEN, TOKEN_HASH = new_token()


@dataclass(frozen=True, kw_only=True)
class Site:
    """A running web role."""

    url: str
    database: str

    def rows(self, table: type[Base]) -> list[Base]:
        engine = open_database(self.database)
        with Session(engine) as session:
            found = list(session.scalars(select(table)))
        engine.dispose()
        return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    url = f"sqlite:///{tmp_path / 'ichd.db'}"
    migrate(url)
    settings = Settings(
        database=DatabaseSettings(url=url),
        spool=SpoolSettings(url=str(tmp_path / "spool"), high_watermark=1.0),
        model=ModelSettings(bundle=str(tmp_path / "no-bundle")),
        web=WebSettings(
            port=free_port(),
            account=(
                AccountSettings(name="viewer", secret=hash_password(PASSWORD), role=Role.OPERATOR),
                AccountSettings(name="sender", secret=TOKEN_HASH),
            ),
        ),
    )
    with running(settings) as address:
        yield Site(url=f"{address}/dicom-web", database=url)


@pytest.fixture
def sources() -> list[FileDataset]:
    return [dcmread(BytesIO(content)) for content in slices(seed=5, count=6)]


@pytest.fixture
def client(site: Site) -> DICOMwebClient:
    return DICOMwebClient(site.url, session=create_session_from_user_pass("viewer", PASSWORD))


def test_a_client_stores_finds_and_looks(site: Site, client: DICOMwebClient, sources: list[FileDataset]) -> None:
    study = sources[0].StudyInstanceUID
    series = sources[0].SeriesInstanceUID

    stored = client.store_instances(sources)

    assert len(stored.ReferencedSOPSequence) == 6
    assert [s.StudyInstanceUID for s in found(client.search_for_studies())] == [study]
    assert found(client.search_for_studies(search_filters={"PatientID": sources[0].PatientID}))
    assert found(client.search_for_studies(search_filters={"PatientID": "somebody else"})) == []
    (described,) = found(client.search_for_series(study))
    assert (described.SeriesInstanceUID, described.NumberOfSeriesRelatedInstances) == (series, 6)
    images = found(client.search_for_instances(study, series, limit=4, get_remaining=True))
    assert {image.SOPInstanceUID for image in images} == {source.SOPInstanceUID for source in sources}

    retrieved = sorted(client.retrieve_study(study), key=lambda d: d.InstanceNumber)
    streamed = list(client.iter_series(study, series))
    for each, source in zip(retrieved, sources, strict=True):
        assert each == source
    assert len(streamed) == 6

    one = sources[2]
    place = (study, series, one.SOPInstanceUID)
    assert client.retrieve_instance(*place) == one
    metadata = Dataset.from_json(client.retrieve_instance_metadata(*place), bulk_data_uri_handler=lambda *_: None)
    assert metadata.ImagePositionPatient == one.ImagePositionPatient
    assert len(client.retrieve_study_metadata(study)) == 6
    bulk = client.retrieve_instance_metadata(*place)["7FE00010"]["BulkDataURI"]
    assert client.retrieve_bulkdata(bulk) == [one.PixelData]
    assert client.retrieve_instance_frames(*place, frame_numbers=[1]) == [one.PixelData]
    octets = client.retrieve_instance_frames(*place, frame_numbers=[1], media_types=("application/octet-stream",))
    assert octets == [one.PixelData]

    options = {"window": "40,80,linear"}
    png = client.retrieve_instance_rendered(*place, media_types=("image/png",), params=options)
    frame = client.retrieve_instance_frames_rendered(*place, frame_numbers=[1], media_types=("image/png",))
    jpeg = client.retrieve_instance_rendered(*place, media_types=("image/jpeg",), params=options)
    assert np.asarray(Image.open(BytesIO(png))).shape == (one.Rows, one.Columns)
    assert Image.open(BytesIO(frame)).format == "PNG"
    difference = np.asarray(Image.open(BytesIO(png)), int) - np.asarray(Image.open(BytesIO(jpeg)), int)
    assert np.abs(difference).mean() < 4

    (association,) = site.rows(AssociationRow)
    assert (association.calling_ae_title, association.released) == ("viewer", True)  # type: ignore[attr-defined]
    log_ins = [row for row in site.rows(AuditRow) if row.event is AuditEvent.LOG_IN]  # type: ignore[attr-defined]
    assert [(row.actor, row.address) for row in log_ins] == [("viewer", "127.0.0.1")]  # type: ignore[attr-defined]


def found(results: list[dict[str, dict[str, object]]]) -> list[Dataset]:
    return [Dataset.from_json(result) for result in results]


def test_a_token_opens_the_door_and_nothing_does_not(site: Site, sources: list[FileDataset]) -> None:
    with_token, without = create_session(), create_session()
    with_token.headers["Authorization"] = f"Bearer {TOKEN}"

    DICOMwebClient(site.url, session=with_token).store_instances(sources[:1])
    with pytest.raises(HTTPError, match="401"):
        DICOMwebClient(site.url, session=without).store_instances(sources[1:2])

    assert len(site.rows(InstanceRow)) == 1


@pytest.mark.skipif(DICOMWEB_MISSING is not None, reason=str(DICOMWEB_MISSING))
def test_orthanc_stores_queries_and_retrieves(site: Site, sources: list[FileDataset], tmp_path: Path) -> None:
    study = str(sources[0].StudyInstanceUID)
    remote = "/dicom-web/servers/ichd"
    plugin = dicomweb_client_of("ichd", site.url, account="viewer", password=PASSWORD)
    with running_orthanc(tmp_path, **plugin) as orthanc:
        for content in slices(seed=5, count=6):
            orthanc.post("/instances", content)
        local = orthanc.get_json("/studies")

        orthanc.post_json(f"{remote}/stow", {"Resources": local, "Synchronous": True})
        assert len(site.rows(InstanceRow)) == 6

        studies = orthanc.post_json(f"{remote}/qido", {"Uri": "/studies", "Arguments": {"StudyInstanceUID": study}})
        assert [each["0020000D"]["Value"] for each in studies] == [study]
        assert studies[0]["00100020"]["Value"] == sources[0].PatientID
        nothing = orthanc.post_json(f"{remote}/qido", {"Uri": "/studies", "Arguments": {"PatientID": "nobody"}})
        assert nothing == []

        orthanc.delete(f"/studies/{local[0]}")
        assert orthanc.get_json("/instances") == []
        orthanc.post_json(f"{remote}/retrieve", {"Resources": [{"Study": study}], "Synchronous": True})
        returned = orthanc.instances(StudyInstanceUID=study)

    assert len(returned) == 6
    by_uid = {each.SOPInstanceUID: each for each in returned}
    for source in sources:
        np.testing.assert_array_equal(by_uid[source.SOPInstanceUID].pixel_array, source.pixel_array)
