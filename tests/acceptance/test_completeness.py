"""A study that its archive knows to be incomplete, and the slice that comes late: seen from outside, end to end."""

from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from ichd.app.plain import plain_recipe
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.report.readable import read_report
from tests.acceptance.conftest import Storescu
from tests.acceptance.daemon import Daemon, Destination, running, wait_until
from tests.peers.orthanc import MISSING, Orthanc, running_orthanc

_ENDED = ("reported", "not_analysed", "failed")


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Orthanc]:
    """One that answers C-FIND."""
    if MISSING:
        pytest.skip(MISSING)
    with running_orthanc(tmp_path, DicomAlwaysAllowFind=True) as running_archive:
        yield running_archive


def test_a_slice_short_of_the_archives_count_and_the_late_slice(
    tmp_path: Path, archive: Orthanc, storescu: Storescu
) -> None:
    files = write_series(render(plain_recipe(PhantomRecipe(seed=7, slices=24))), tmp_path / "phantom")
    study_uid = str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
    storescu(archive.dicom_port, files)
    source = f"""
[study]
interrupted_period_s = 6.0
[[source]]
name = "archive"
address = "127.0.0.1:{archive.dicom_port}"
ae_title = "{archive.ae_title}"
counts = true
"""
    destination = Destination(ae_title=archive.ae_title, port=archive.dicom_port)
    daemon = Daemon(tmp_path / "daemon", destinations=[destination], extra_settings=source)
    with running(daemon):
        storescu(daemon.port, files[:12] + files[13:])
        study = daemon.wait_for(study_uid, *_ENDED)
        assert (study["state"], study["revision"]) == ("reported", 1)
        assert study["closing"] == "fewer_than_expected"
        assert study["closing_detail"] == "23 of 24 images by the count at archive; slices missing in 1 place"

        storescu(daemon.port, files[12:13])
        wait_until(lambda: daemon.listed().get(study_uid, {}).get("revision") == 2, "the late slice opened nothing")
        study = daemon.wait_for(study_uid, *_ENDED)
        assert (study["state"], study["revision"]) == ("reported", 2)
        assert study["closing"] == "count_reached"
        assert study["closing_detail"] == "24 of 24 images by the count at archive"
        assert daemon.stop() == 0

    first, second = (delivery["sop_instance_uids"][0] for delivery in study["deliveries"])
    reports = {str(r.SOPInstanceUID): r for r in archive.instances(StudyInstanceUID=study_uid, Modality="SR")}
    assert set(reports) == {first, second}
    assert read_report(reports[second]).predecessor == first
    assert read_report(reports[first]).predecessor is None
