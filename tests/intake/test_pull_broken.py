"""A pull from archives that break off, fail single images, refuse, or are not who they should be."""

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest

from ichd.domain.errors import CodedError, SettingsError, Transient
from ichd.domain.reason import Reason
from ichd.domain.retention import Watermarks
from ichd.intake.ask.archive import archive_of, check_source
from ichd.intake.ask.errand import Tally, Wanted
from ichd.intake.ask.find import StudyQuery
from ichd.intake.ask.get import GetRetriever
from ichd.intake.ask.pull import Fetched, Pull
from ichd.intake.ask.sources import DimseSource, WebSource
from ichd.intake.ask.wado import WebRetriever
from ichd.intake.counter import Counter
from ichd.store.held import Holdings
from ichd.store.tables import AssociationRow
from ichd.tls import ClientTls
from tests.intake.archiving import Archive, running_archive
from tests.intake.asking import as_file, series
from tests.intake.certificates import Authority
from tests.intake.conftest import House, now

STUDY = "1.2.826.0.1.3680043.10.1459.95"
SECOND = "1.2.826.0.1.3680043.10.1459.96"


@pytest.fixture
def archive() -> Iterator[Archive]:
    with running_archive([*series(STUDY, 1, 8), *series(SECOND, 1, 2)]) as running:
        yield running


def pull(source: DimseSource, house: House, query: StudyQuery | None = None, **limits: int) -> list[Fetched]:
    counter = Counter(house.arrivals, house.spool, watermarks=Watermarks(high=1, low=1), **limits)
    retriever = GetRetriever(source, counter, place="pull", clock=now)
    with archive_of(source) as asked:
        pulling = Pull(asked, retriever, Holdings(house.engine), settle_s=0.0)
        return list(pulling.fetch(pulling.look(query or StudyQuery(study_uid=STUDY)), lambda _: None))


def test_a_pull_that_broke_off_goes_on_where_it_stopped(archive: Archive, house: House) -> None:
    archive.breaks_off_after = 5
    (first,) = pull(archive.source(), house)
    assert (first.came, first.missing, first.troubles) == (5, 3, {Reason.SOURCE_LOST: 3})
    assert not house.association().released, "the study must not count as whole"

    archive.breaks_off_after = None
    (second,) = pull(archive.source(), house)
    assert (second.came, second.missing, second.troubles) == (3, 0, {})
    assert archive.asked == [None, [f"{STUDY}.1.{number}" for number in (6, 7, 8)]]
    assert house.count() == 8
    assert len(house.files()) == 8


def test_a_source_that_hangs_up_after_each_answer_is_asked_for_the_rest(house: House) -> None:
    with running_archive([image for number in (1, 2, 3) for image in series(STUDY, number, 2)]) as archive:
        archive.hangs_up = True
        (fetched,) = pull(archive.source(), house)

    assert (fetched.came, fetched.missing, fetched.troubles) == (6, 0, {})
    assert archive.asked == [None] * 3, "nothing was asked for twice"
    assert house.association().released, "one visit, whatever the number of associations"


def test_of_an_image_that_is_too_large_no_more_is_held_than_tells_that(house: House) -> None:
    images = series(STUDY, 1, 2)
    images[0].PixelData = bytes(8 << 20)
    with running_archive(images) as archive:
        (fetched,) = pull(archive.source(), house, max_instance_bytes=1 << 20)

    assert (fetched.came, fetched.troubles) == (1, {Reason.TOO_LARGE: 1})
    (refusal,) = house.arrivals.refusals()
    assert 1 << 20 < int(refusal.detail.split()[0]) < 3 << 20
    assert refusal.study_instance_uid == STUDY


def test_an_image_that_fails_leaves_the_others_in_peace(archive: Archive, house: House) -> None:
    archive.unreadable = frozenset({f"{STUDY}.1.3"})
    (fetched,) = pull(archive.source(), house)

    assert (fetched.came, fetched.missing, fetched.troubles) == (7, 1, {Reason.NOT_HANDED_OVER: 1})
    assert not house.association().released, "the study must not count as whole"


@pytest.mark.parametrize(
    ("status", "reason", "asked"),
    [
        (0xA701, Reason.SOURCE_BUSY, 2),
        (0xC001, Reason.SOURCE_REFUSED, 1),
        (0x0124, Reason.SOURCE_REFUSED, 1),
    ],
)
def test_a_refusal_has_its_reason_and_number(
    status: int, reason: Reason, asked: int, archive: Archive, house: House
) -> None:
    """A source that is busy is asked for the next study; one that refuses is not."""
    archive.refuses_with = status
    both = pull(archive.source(), house, StudyQuery(first_date="20240101"))

    assert [each.troubles for each in both] in ([{reason: 8}, {reason: 2}], [{reason: 2}, {reason: 8}])
    assert f"0x{status:04X}" in both[0].detail
    assert len(archive.asked) == asked
    assert house.count(AssociationRow) == 0


def test_a_source_of_which_every_image_fails(archive: Archive, house: House) -> None:
    """pynetdicom counts the failures beside 0xA702, "unable to perform sub-operations", as other archives do."""
    archive.refuses_with = 0xA702
    (fetched,) = pull(archive.source(), house)

    assert fetched.troubles == {Reason.NOT_HANDED_OVER: 8}


def test_tls_to_a_source_that_is_who_it_says(house: House, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, client = authority.issue("server"), authority.issue("client")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.ca)
    context.load_cert_chain(server.certificate, server.key)
    context.verify_mode = ssl.CERT_REQUIRED
    with running_archive(series(STUDY, 1, 2), tls=context) as archive:
        ours = ClientTls(ca=authority.ca, certificate=client.certificate, key=client.key)
        (fetched,) = pull(archive.source(tls=ours), house)
        assert fetched.came == 2
        # Nobody we trust; nobody they trust; no TLS at all.
        for wrong in (ClientTls(), ClientTls(ca=authority.ca), None):
            with pytest.raises(Transient) as raised:
                check_source(archive.source(tls=wrong))
            assert raised.value.reason in (Reason.SOURCE_UNREACHABLE, Reason.SOURCE_LOST)


def test_a_certificate_that_can_not_be_used_names_its_setting(tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("no certificate")
    pair = Authority(tmp_path).issue("client", passphrase=b"secret")
    for tls, mend in (
        (ClientTls(ca=nonsense), "tls.ca"),
        (ClientTls(ca=tmp_path / "missing.pem"), "tls.ca"),
        (ClientTls(certificate=nonsense), "tls.certificate"),
        (ClientTls(certificate=pair.certificate, key=pair.key), "not encrypted"),
    ):
        source = DimseSource(name="archive", host="127.0.0.1", port=1, ae_title="ARCHIVE", tls=tls)
        with pytest.raises(SettingsError, match=mend):
            check_source(source)


@contextmanager
def web_archive(content_type: str, body: bytes, *, status: int = 200) -> Iterator[WebSource]:
    """A server that says the same to everybody, whatever it promised to say."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield WebSource(name="web", url=f"http://127.0.0.1:{server.server_address[1]}", timeout_s=5.0)
    finally:
        server.shutdown()
        server.server_close()


def part(number: int) -> bytes:
    content = BytesIO()
    as_file(series(STUDY, 1, number)[-1]).save_as(content)
    return b"\r\n--xyz\r\nContent-Type: application/dicom\r\n\r\n" + content.getvalue()


@pytest.mark.parametrize(
    ("content_type", "body", "reason", "stored"),
    [
        ("multipart/related; boundary=xyz", part(1) + part(2)[:-50], Reason.SOURCE_LOST, 1),
        ('multipart/related; type="application/dicom"; boundary="xyz"', part(1), Reason.SOURCE_LOST, 0),
        ("text/html", b"<p>Please log in</p>", Reason.SOURCE_CONFUSED, 0),
    ],
)
def test_an_answer_that_breaks_off_leaves_what_was_whole(
    content_type: str, body: bytes, reason: Reason, stored: int, house: House
) -> None:
    counter = Counter(house.arrivals, house.spool, watermarks=Watermarks(high=1, low=1))
    wanted = Wanted(series_uid=f"{STUDY}.1", images=(f"{STUDY}.1.1", f"{STUDY}.1.2"), whole=True)
    with web_archive(content_type, body.lstrip(b"\r\n")) as source:
        retriever = WebRetriever(source, counter, place="pull", clock=now)
        with pytest.raises(CodedError) as raised:
            retriever.retrieve(STUDY, [wanted], Tally(lambda _: None))
    assert raised.value.reason is reason
    assert house.count() == stored
    assert len(house.files()) == stored, "what broke off left nothing behind"


def test_another_image_makes_up_for_none_that_was_wanted(house: House) -> None:
    counter = Counter(house.arrivals, house.spool, watermarks=Watermarks(high=1, low=1))
    wanted = Wanted(series_uid=f"{STUDY}.1", images=(f"{STUDY}.1.1", f"{STUDY}.1.2"), whole=True)
    body = part(1) + part(3) + b"\r\n--xyz--"
    with web_archive("multipart/related; boundary=xyz", body.lstrip(b"\r\n")) as source:
        WebRetriever(source, counter, place="pull", clock=now).retrieve(STUDY, [wanted], Tally(lambda _: None))

    assert house.count() == 2
    assert not house.association().released, "the study must not count as whole"


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (401, b"", Reason.SOURCE_REJECTED),
        (503, b"", Reason.SOURCE_BUSY),
        (500, b"", Reason.SOURCE_REFUSED),
        (200, b"<html>", Reason.SOURCE_CONFUSED),
        (200, b'{"a": 1}', Reason.SOURCE_CONFUSED),
        (200, b"[" * 100_000, Reason.SOURCE_CONFUSED),
    ],
)
def test_what_a_web_archive_says_instead_of_matches(status: int, body: bytes, reason: Reason) -> None:
    with (
        web_archive("application/dicom+json", body, status=status) as source,
        pytest.raises(Exception, match="web") as e,
    ):
        check_source(source)
    assert getattr(e.value, "reason", None) is reason
