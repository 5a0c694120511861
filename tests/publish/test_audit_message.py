"""Audit messages against the schema of PS3.15 A.5.1.1, and row by row against the tables of A.5.3."""

import re
from base64 import b64decode
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from ichd.domain.audit import AuditEntry, AuditEvent, AuditOutcome
from ichd.publish.audit_message import AuditSource, render, render_unreadable

SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).with_name("audit_message.xsd")))
SOURCE = AuditSource(host="ct-reader", ae_title="ICHD")
SUBJECTS: dict[AuditEvent, dict[str, Any]] = {
    AuditEvent.APPLICATION_STARTED: {"role": "listen", "version": "1"},
    AuditEvent.APPLICATION_STOPPED: {"role": "listen", "version": "1"},
    AuditEvent.ASSOCIATION_REFUSED: {"reason": "association_not_allowed", "detail": "CT9 at 192.0.2.1"},
    AuditEvent.INSTANCES_STORED: {"study_instance_uid": "1.2.3", "instances": 40, "sop_class_uids": ["1.2.840.2"]},
    AuditEvent.IMAGES_DROPPED: {
        "study_instance_uid": "1.2.3",
        "instances": 40,
        "sop_class_uids": ["1.2.840.2"],
        "why": "age",
    },
    AuditEvent.RESULTS_SENT: {
        "destination": "pacs",
        "destination_ae_title": "PACS",
        "destination_address": "pacs.example",
        "study_instance_uid": "1.2.3",
        "sop_class_uids": ["1.2.840.34"],
        "sop_instance_uids": ["2.25.1", "2.25.2"],
        "status": "0x0000",
    },
    AuditEvent.SETTINGS_CHANGED: {"changed": ["dicom.port", "source[ct].token"]},
    AuditEvent.MODEL_CHANGED: {
        "did": "promoted",
        "model": "r50 2",
        "weights_sha256": "ab" * 32,
        "before": "r50 1",
        "gate": "passed on 40 phantoms",
    },
    AuditEvent.LOG_IN: {},
    AuditEvent.LOG_OUT: {},
    AuditEvent.PATIENT_SHOWN: {"study_instance_uid": "1.2.3"},
    AuditEvent.STUDY_RETRIED: {"study_instance_uid": "1.2.3", "jobs": 2},
    AuditEvent.STUDY_REPROCESSED: {"study_instance_uid": "1.2.3", "revision": 2},
    AuditEvent.STUDY_FORGOTTEN: {"study_instance_uid": "1.2.3", "instances": 40, "findings": 1, "reviews": 0},
}


def message(event: AuditEvent, **changes: Any) -> etree._Element:
    """Rendered, and valid by the schema."""
    entry: dict[str, Any] = {
        "id": 7,
        "at": datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC),
        "event": event,
        "outcome": AuditOutcome.SUCCESS,
        "actor": "CT1",
        "address": "192.0.2.1",
        "subject": SUBJECTS[event],
    }
    rendered = render(AuditEntry(**entry | changes), SOURCE)
    assert not re.search(rb"[\x00-\x1f]", rendered), "collectors put other characters in the place of these"
    root = etree.fromstring(rendered)
    SCHEMA.assertValid(root)
    return root


def codes(root: etree._Element, path: str) -> list[tuple[str, str]]:
    found = root.findall(path)
    assert {each.get("codeSystemName") for each in found} <= {"DCM"}
    return [(each.get("csd-code", ""), each.get("originalText", "")) for each in found]


def participants(root: etree._Element) -> list[tuple[str, str, list[str]]]:
    """UserID, whether it asked for it, and roles, of each."""
    return [
        (p.get("UserID", ""), p.get("UserIsRequestor", ""), [role.get("csd-code", "") for role in p])
        for p in root.findall("ActiveParticipant")
    ]


@pytest.mark.parametrize(
    ("event", "event_id", "event_type", "action"),
    [
        (AuditEvent.APPLICATION_STARTED, ("110100", "Application Activity"), ("110120", "Application Start"), "E"),
        (AuditEvent.APPLICATION_STOPPED, ("110100", "Application Activity"), ("110121", "Application Stop"), "E"),
        (AuditEvent.ASSOCIATION_REFUSED, ("110113", "Security Alert"), ("110126", "Node Authentication"), "E"),
        (AuditEvent.INSTANCES_STORED, ("110104", "DICOM Instances Transferred"), None, "C"),
        (AuditEvent.IMAGES_DROPPED, ("110105", "DICOM Study Deleted"), None, "D"),
        (AuditEvent.STUDY_FORGOTTEN, ("110105", "DICOM Study Deleted"), None, "D"),
        (AuditEvent.RESULTS_SENT, ("110104", "DICOM Instances Transferred"), None, "C"),
        (AuditEvent.SETTINGS_CHANGED, ("110113", "Security Alert"), ("110131", "Software Configuration"), "E"),
        (AuditEvent.MODEL_CHANGED, ("110113", "Security Alert"), ("110131", "Software Configuration"), "E"),
        (AuditEvent.LOG_IN, ("110114", "User Authentication"), ("110122", "Login"), "E"),
        (AuditEvent.LOG_OUT, ("110114", "User Authentication"), ("110123", "Logout"), "E"),
        (AuditEvent.PATIENT_SHOWN, ("110103", "DICOM Instances Accessed"), None, "R"),
        (AuditEvent.STUDY_RETRIED, ("110111", "Procedure Record"), None, "U"),
        (AuditEvent.STUDY_REPROCESSED, ("110111", "Procedure Record"), None, "U"),
    ],
)
def test_each_event_has_its_codes(
    event: AuditEvent, event_id: tuple[str, str], event_type: tuple[str, str] | None, action: str
) -> None:
    root = message(event, outcome=AuditOutcome.MINOR_FAILURE)
    identification = root.find("EventIdentification")
    assert identification is not None
    assert dict(identification.attrib) == {
        "EventActionCode": action,
        "EventDateTime": "2026-03-01T12:00:00.123+00:00",
        "EventOutcomeIndicator": "4",
    }
    assert codes(identification, "EventID") == [event_id]
    assert codes(identification, "EventTypeCode") == ([event_type] if event_type else [])


def test_every_event_has_a_message_that_says_who_reports() -> None:
    assert set(SUBJECTS) == set(AuditEvent)
    for event in AuditEvent:
        root = message(event)
        (source,) = root.findall("AuditSourceIdentification")
        assert source.get("AuditSourceID") == "ichd@ct-reader"
        assert [participant[1] for participant in participants(root)].count("true") == 1


def test_the_moment_is_in_utc() -> None:
    at = datetime(2026, 3, 1, 13, 0, tzinfo=timezone(timedelta(hours=1)))
    identification = message(AuditEvent.LOG_IN, at=at).find("EventIdentification")
    assert identification is not None
    assert identification.get("EventDateTime") == "2026-03-01T12:00:00.000+00:00"


def test_images_go_from_the_sender_to_us() -> None:
    root = message(AuditEvent.INSTANCES_STORED)
    assert participants(root) == [("CT1", "true", ["110153"]), ("ICHD", "false", ["110152"])]
    sender, ourselves = (dict(p.attrib) for p in root.findall("ActiveParticipant"))
    assert sender["AlternativeUserID"] == "AETITLES=CT1"
    assert (sender["NetworkAccessPointID"], sender["NetworkAccessPointTypeCode"]) == ("192.0.2.1", "2")
    assert (ourselves["NetworkAccessPointID"], ourselves["NetworkAccessPointTypeCode"]) == ("ct-reader", "1")
    (study,) = root.findall("ParticipantObjectIdentification")
    assert study.get("ParticipantObjectID") == "1.2.3"
    assert (study.get("ParticipantObjectTypeCode"), study.get("ParticipantObjectTypeCodeRole")) == ("2", "3")
    assert codes(study, "ParticipantObjectIDTypeCode") == [("110180", "Study Instance UID")]
    (described,) = study.findall("ParticipantObjectDescription/SOPClass")
    assert dict(described.attrib) == {"UID": "1.2.840.2", "NumberOfInstances": "40"}


def test_a_number_of_several_classes_is_nobodys() -> None:
    subject = SUBJECTS[AuditEvent.INSTANCES_STORED] | {"sop_class_uids": ["1.2", "1.3"]}
    root = message(AuditEvent.INSTANCES_STORED, subject=subject)
    (described,) = root.findall("ParticipantObjectIdentification/ParticipantObjectDescription/SOPClass")
    assert dict(described.attrib) == {"NumberOfInstances": "40"}


def test_reports_go_from_us_to_the_destination() -> None:
    root = message(AuditEvent.RESULTS_SENT, actor="ichd", address="")
    assert participants(root) == [("ICHD", "true", ["110153"]), ("PACS", "false", ["110152"])]
    (described,) = root.findall("ParticipantObjectIdentification/ParticipantObjectDescription/SOPClass")
    assert dict(described.attrib) == {"UID": "1.2.840.34", "NumberOfInstances": "2"}
    assert [instance.get("UID") for instance in described] == ["2.25.1", "2.25.2"]


def test_a_report_that_did_not_arrive_says_why() -> None:
    subject = {"destination": "pacs", "study_instance_uid": "1.2.3", "reason": "peer_refused"}
    root = message(AuditEvent.RESULTS_SENT, outcome=AuditOutcome.SERIOUS_FAILURE, subject=subject)
    assert participants(root)[1] == ("pacs", "false", ["110152"])
    assert root.findtext("EventIdentification/EventOutcomeDescription") == "the destination refused the object"
    assert root.find(".//SOPClass") is None


@pytest.mark.parametrize(
    ("event", "subject", "words", "people"),
    [
        (
            AuditEvent.ASSOCIATION_REFUSED,
            {"reason": "association_not_allowed", "detail": "CT9"},
            "dicom.allowed_peers does not list this AE title at this address; add it there: CT9",
            [("ICHD", "true", []), ("CT1", "false", [])],
        ),
        (
            AuditEvent.ASSOCIATION_REFUSED,
            {"reason": "a_code_of_a_newer_version"},
            "a_code_of_a_newer_version",
            [("ICHD", "true", []), ("CT1", "false", [])],
        ),
        (
            AuditEvent.SETTINGS_CHANGED,
            {"changed": ["dicom.port", "web.host"]},
            "settings changed: dicom.port, web.host",
            [("ICHD", "true", []), ("CT1", "false", [])],
        ),
        (
            AuditEvent.SETTINGS_CHANGED,
            {"changed": []},
            "settings seen for the first time",
            [("ICHD", "true", []), ("CT1", "false", [])],
        ),
    ],
)
def test_an_alert_says_in_words_what_is_wrong(
    event: AuditEvent, subject: dict[str, Any], words: str, people: list[tuple[str, str, list[str]]]
) -> None:
    root = message(event, subject=subject)
    assert participants(root) == people
    (about,) = root.findall("ParticipantObjectIdentification")
    assert about.get("ParticipantObjectTypeCodeRole") == "13"
    assert codes(about, "ParticipantObjectIDTypeCode") == [("110182", "Node ID")]
    (detail,) = about.findall("ParticipantObjectDetail")
    assert detail.get("type") == "Alert Description"
    assert b64decode(detail.get("value", "")).decode() == words


def test_who_logs_in_is_no_application_entity() -> None:
    root = message(AuditEvent.LOG_IN, actor="jane")
    person, node = root.findall("ActiveParticipant")
    assert (person.get("UserID"), person.get("AlternativeUserID")) == ("jane", None)
    assert node.get("AlternativeUserID") == "AETITLES=ICHD"


def test_an_application_has_a_launcher() -> None:
    root = message(AuditEvent.APPLICATION_STARTED, actor="daemon", address="")
    assert participants(root) == [("ICHD", "false", ["110150"]), ("daemon", "true", ["110151"])]


@given(words=st.text())
def test_whatever_a_peer_calls_itself_the_message_is_well_formed(words: str) -> None:
    subject = {"reason": "association_not_allowed", "detail": words}
    message(AuditEvent.ASSOCIATION_REFUSED, actor=words, address=words, subject=subject)
    stored = SUBJECTS[AuditEvent.INSTANCES_STORED] | {"study_instance_uid": words, "sop_class_uids": [words]}
    message(AuditEvent.INSTANCES_STORED, actor=words, subject=stored)


def test_an_entry_that_can_not_be_told_is_named_by_a_valid_message() -> None:
    at = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
    entry = AuditEntry(
        id=7, at=at, event=AuditEvent.RESULTS_SENT, outcome=AuditOutcome.SUCCESS, actor="", address="", subject={}
    )
    root = etree.fromstring(render_unreadable(entry, SOURCE))
    SCHEMA.assertValid(root)
    (detail,) = root.iter("ParticipantObjectDetail")
    words = b64decode(detail.get("value", "")).decode()
    assert words == "entry 7 of the audit trail, results_sent, can't be told: see `ichd audit`"
