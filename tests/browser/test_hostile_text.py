"""Words of a stranger's images are shown, and none of them does anything."""

from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO

import pytest
from pydicom import dcmread

from ichd.intake.header import parse_header
from ichd.intake.part10 import split_file
from tests.browser.conftest import Window
from tests.browser.site import Site, serving
from tests.web.archive import slices
from tests.web.worklist_of_all_states import Hospital

#: Without an equals sign, which ends a group of a name.
ATTACK = "<script>document.body.setAttribute('data-hit', 1)</script>"
SCRIPT = "<script>document.body.dataset.hit=2</script>"
QUOTED = "\"'><svg onload=document.body.dataset.hit=3>{{7*7}}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("hostile")) as found:
        found.uids["hostile"] = send(Hospital(folder=found.folder, now=datetime.now(UTC)))
        yield found


def send(hospital: Hospital) -> str:
    """A study whose every text is an attack."""
    association = hospital.arrivals.open_association(calling_ae_title="<b>CT</b>", address="<i>x", now=hospital.now)
    for content in slices(seed=11):
        dataset = dcmread(BytesIO(content))
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.SeriesDescription, dataset.AccessionNumber, dataset.PatientName = SCRIPT, "<b onclick=x>", ATTACK
        dataset.PatientID, dataset.StudyDescription = QUOTED, SCRIPT
        buffer = BytesIO()
        dataset.save_as(buffer)
        syntax, body = split_file(buffer.getvalue())
        facts = parse_header(body, syntax)
        hospital.arrivals.record(
            facts, hospital.spool.write([buffer.getvalue()]), association_id=association, now=hospital.now
        )
    hospital.arrivals.end_association(association, released=True, now=hospital.now)
    hospital.engine.dispose()
    return facts.study_instance_uid


def test_the_worklist_and_the_study_show_it_as_text(window: Window) -> None:
    page = window.open("/")
    assert "<b onclick=x>" in page.locator("main").inner_text()
    assert page.evaluate("document.body.dataset.hit") is None

    page = window.open(f"/studies/{window.site.uids['hostile']}")
    shown = page.locator("main").inner_text()
    for words in ("<b onclick=x>", SCRIPT, ATTACK, QUOTED):
        assert words in shown.replace("\n", " ")
    page.wait_for_timeout(200)
    assert page.evaluate("document.body.dataset.hit") is None
    assert page.locator("main script, main [onerror], main [onload], main b[onclick]").count() == 0
    assert page.locator("main b").count() == 0


def test_an_address_is_no_way_in_either(window: Window) -> None:
    window.expected.add(404)
    page = window.open("/studies/%3Cimg%20src=x%20onerror=document.body.dataset.hit=4%3E")

    assert page.evaluate("document.body.dataset.hit") is None
