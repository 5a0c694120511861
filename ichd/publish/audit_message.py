"""An entry of the audit trail as a DICOM audit message (PS3.15 A.5).

| entry | event | messages of |
|---|---|---|
| application_started, application_stopped | Application Activity | A.5.3.1 |
| instances_stored, results_sent | DICOM Instances Transferred | A.5.3.7 |
| images_dropped, study_forgotten | DICOM Study Deleted | A.5.3.8 |
| association_refused, settings_changed | Security Alert | A.5.3.11 |
| patient_shown | DICOM Instances Accessed | A.5.3.6 |
| log_in, log_out | User Authentication | A.5.3.12 |
| study_retried, study_reprocessed | Procedure Record | A.5.3.15 |

A report that goes to a destination is a transfer and no Export (A.5.3.4): that is for what leaves the realm of the
systems that know DICOM, on paper or media. One departure from A.5.3.7: no message has a participant object for the
patient, who is not in our trail on purpose. The study is, by whose UID the archive knows whose it was.
"""

import ipaddress
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from ichd.domain.audit import OURSELVES, AuditEntry, AuditEvent, AuditOutcome
from ichd.domain.reason import Reason

#: What XML 1.0 has no place for (2.2), and the ends of lines and tabs that it has; a peer may call itself anything.
_ILLEGAL = re.compile("[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: No line ends here either: rsyslog would put "#012" in its place, and what arrives would be no XML.
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'


@dataclass(frozen=True, kw_only=True)
class AuditSource:
    """Who reports."""

    #: Name of this machine.
    host: str
    #: Our AE title.
    ae_title: str


@dataclass(frozen=True, kw_only=True)
class _Code:
    """A code of PS3.16 annex D."""

    value: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class _Event:
    id: _Code
    type: _Code | None = None
    #: C: create, D: delete, E: execute (PS3.15 table A.5.2-1).
    action: str


_ACTIVITY = _Code(value="110100", meaning="Application Activity")
_TRANSFER = _Event(id=_Code(value="110104", meaning="DICOM Instances Transferred"), action="C")
_DELETED = _Event(id=_Code(value="110105", meaning="DICOM Study Deleted"), action="D")
_PROCEDURE = _Event(id=_Code(value="110111", meaning="Procedure Record"), action="U")
_ALERT = _Code(value="110113", meaning="Security Alert")
_EVENTS = {
    AuditEvent.APPLICATION_STARTED: _Event(
        id=_ACTIVITY, type=_Code(value="110120", meaning="Application Start"), action="E"
    ),
    AuditEvent.APPLICATION_STOPPED: _Event(
        id=_ACTIVITY, type=_Code(value="110121", meaning="Application Stop"), action="E"
    ),
    AuditEvent.ASSOCIATION_REFUSED: _Event(
        id=_ALERT, type=_Code(value="110126", meaning="Node Authentication"), action="E"
    ),
    # The receiver had none of them (A.5.3.7): an image that comes again makes no entry, and a report has new UIDs.
    AuditEvent.INSTANCES_STORED: _TRANSFER,
    AuditEvent.RESULTS_SENT: _TRANSFER,
    # What was found in the study stays: of the study as DICOM knows it, its instances, nothing does.
    AuditEvent.IMAGES_DROPPED: _DELETED,
    AuditEvent.STUDY_FORGOTTEN: _DELETED,
    AuditEvent.SETTINGS_CHANGED: _Event(
        id=_ALERT, type=_Code(value="110131", meaning="Software Configuration"), action="E"
    ),
    AuditEvent.MODEL_CHANGED: _Event(
        id=_ALERT, type=_Code(value="110131", meaning="Software Configuration"), action="E"
    ),
    AuditEvent.LOG_IN: _Event(
        id=_Code(value="110114", meaning="User Authentication"),
        type=_Code(value="110122", meaning="Login"),
        action="E",
    ),
    AuditEvent.LOG_OUT: _Event(
        id=_Code(value="110114", meaning="User Authentication"),
        type=_Code(value="110123", meaning="Logout"),
        action="E",
    ),
    AuditEvent.PATIENT_SHOWN: _Event(id=_Code(value="110103", meaning="DICOM Instances Accessed"), action="R"),
    # What is done with the study is changed, and not its images.
    AuditEvent.STUDY_RETRIED: _PROCEDURE,
    AuditEvent.STUDY_REPROCESSED: _PROCEDURE,
}

_APPLICATION = _Code(value="110150", meaning="Application")
_LAUNCHER = _Code(value="110151", meaning="Application Launcher")
_DESTINATION = _Code(value="110152", meaning="Destination Role ID")
_SOURCE = _Code(value="110153", meaning="Source Role ID")
_STUDY_UID = _Code(value="110180", meaning="Study Instance UID")
_NODE_ID = _Code(value="110182", meaning="Node ID")

#: Of AuditSourceTypeCode (PS3.15 A.5.1.2.1): an application server process.
_APPLICATION_SERVER = "4"


def render(entry: AuditEntry, source: AuditSource) -> bytes:
    """The AuditMessage of PS3.15 A.5.1 as UTF-8, in one line."""
    message = Element("AuditMessage")
    _event(message, entry)
    _participants(message, entry, source)
    reporter = SubElement(message, "AuditSourceIdentification", AuditSourceID=_legal(f"{OURSELVES}@{source.host}"))
    SubElement(reporter, "AuditSourceTypeCode", {"csd-code": _APPLICATION_SERVER})
    match entry.event:
        case (
            AuditEvent.INSTANCES_STORED
            | AuditEvent.RESULTS_SENT
            | AuditEvent.IMAGES_DROPPED
            | AuditEvent.STUDY_FORGOTTEN
            | AuditEvent.STUDY_RETRIED
            | AuditEvent.STUDY_REPROCESSED
            | AuditEvent.PATIENT_SHOWN
        ):
            _study(message, entry.subject)
        case AuditEvent.ASSOCIATION_REFUSED:
            _alert(message, source, ": ".join(part for part in _why(entry) if part))
        case AuditEvent.SETTINGS_CHANGED:
            changed = ", ".join(entry.subject["changed"])
            _alert(message, source, "settings changed: " + changed if changed else "settings seen for the first time")
        case AuditEvent.MODEL_CHANGED:
            subject = entry.subject
            _alert(message, source, f"model {subject['did']}: {subject['model']}, gate: {subject['gate']}")
    return (_DECLARATION + tostring(message, encoding="unicode")).encode()


def render_unreadable(entry: AuditEntry, source: AuditSource) -> bytes:
    """In place of an entry that `render` can't take: an alert of a serious failure that says which one it is."""
    instead = replace(entry, event=AuditEvent.SETTINGS_CHANGED, outcome=AuditOutcome.SERIOUS_FAILURE, subject={})
    message = Element("AuditMessage")
    _event(message, instead)
    _ourselves(message, source, requestor=True)
    reporter = SubElement(message, "AuditSourceIdentification", AuditSourceID=_legal(f"{OURSELVES}@{source.host}"))
    SubElement(reporter, "AuditSourceTypeCode", {"csd-code": _APPLICATION_SERVER})
    _alert(message, source, f"entry {entry.id} of the audit trail, {entry.event}, can't be told: see `ichd audit`")
    return (_DECLARATION + tostring(message, encoding="unicode")).encode()


def _participants(message: Element, entry: AuditEntry, source: AuditSource) -> None:
    match entry.event:
        case AuditEvent.APPLICATION_STARTED | AuditEvent.APPLICATION_STOPPED:
            _ourselves(message, source, _APPLICATION)
            _participant(message, entry.actor, requestor=True, role=_LAUNCHER)
        case AuditEvent.INSTANCES_STORED:
            _node(message, entry.actor, entry.address, requestor=True, role=_SOURCE)
            _ourselves(message, source, _DESTINATION)
        case AuditEvent.RESULTS_SENT:
            _ourselves(message, source, _SOURCE, requestor=True)
            name = entry.subject.get("destination_ae_title") or entry.subject["destination"]
            _node(message, name, entry.subject.get("destination_address", ""), role=_DESTINATION)
        case AuditEvent.IMAGES_DROPPED:
            _ourselves(message, source, requestor=True)
        case AuditEvent.ASSOCIATION_REFUSED:
            _ourselves(message, source, requestor=True)
            _node(message, entry.actor, entry.address)
        case AuditEvent.SETTINGS_CHANGED:
            _ourselves(message, source, requestor=True)
            _participant(message, entry.actor)
        case AuditEvent.MODEL_CHANGED:
            _participant(message, entry.actor, requestor=True)
            _ourselves(message, source)
        case (
            AuditEvent.LOG_IN
            | AuditEvent.LOG_OUT
            | AuditEvent.PATIENT_SHOWN
            | AuditEvent.STUDY_RETRIED
            | AuditEvent.STUDY_REPROCESSED
            | AuditEvent.STUDY_FORGOTTEN
        ):
            _participant(message, entry.actor, entry.address, requestor=True)
            _ourselves(message, source)


def _event(message: Element, entry: AuditEntry) -> None:
    kind = _EVENTS[entry.event]
    event = SubElement(
        message,
        "EventIdentification",
        EventActionCode=kind.action,
        EventDateTime=entry.at.astimezone(UTC).isoformat(timespec="milliseconds"),
        EventOutcomeIndicator=str(entry.outcome.value),
    )
    _coded(event, "EventID", kind.id)
    if kind.type is not None:
        _coded(event, "EventTypeCode", kind.type)
    if entry.outcome is not AuditOutcome.SUCCESS and "reason" in entry.subject:
        SubElement(event, "EventOutcomeDescription").text = _legal(_why(entry)[0])


def _why(entry: AuditEntry) -> tuple[str, str]:
    """What went wrong in words, and the detail."""
    code = str(entry.subject["reason"])
    words = Reason(code).meaning if code in set(Reason) else code
    return words, str(entry.subject.get("detail", ""))


def _node(message: Element, ae_title: str, address: str, *, role: _Code | None = None, requestor: bool = False) -> None:
    """An application entity (PS3.15 A.5.2.2)."""
    participant = _participant(message, ae_title or address, address, requestor=requestor, role=role)
    if ae_title:
        participant.set("AlternativeUserID", _legal(f"AETITLES={ae_title}"))


def _ourselves(message: Element, source: AuditSource, role: _Code | None = None, *, requestor: bool = False) -> None:
    _node(message, source.ae_title, source.host, role=role, requestor=requestor)


def _participant(
    message: Element, user: str, address: str = "", *, requestor: bool = False, role: _Code | None = None
) -> Element:
    participant = SubElement(
        message, "ActiveParticipant", UserID=_legal(user) or "unknown", UserIsRequestor="true" if requestor else "false"
    )
    if role is not None:
        _coded(participant, "RoleIDCode", role)
    if address:
        participant.set("NetworkAccessPointID", _legal(address))
        participant.set("NetworkAccessPointTypeCode", "2" if _is_ip(address) else "1")
    return participant


def _study(message: Element, subject: Mapping[str, Any]) -> None:
    study = _object(message, subject["study_instance_uid"], _STUDY_UID, role="3")
    classes, instances = subject.get("sop_class_uids", []), subject.get("sop_instance_uids", [])
    if not classes:
        return  # nothing was transferred
    description = SubElement(study, "ParticipantObjectDescription")
    described = SubElement(
        description, "SOPClass", NumberOfInstances=str(len(instances) or subject.get("instances", 0))
    )
    # The number is of all classes together, so it is nobody's where there are several.
    if len(classes) == 1:
        described.set("UID", _legal(classes[0]))
    for uid in instances:
        SubElement(described, "Instance", UID=_legal(uid))


def _alert(message: Element, source: AuditSource, words: str) -> None:
    """What the alert is about: us. The words are base64, as all that comes from peers (PS3.15 A.5.1.1)."""
    subject = _object(message, source.ae_title, _NODE_ID, role="13")
    value = b64encode(words.encode("utf-8", "replace")).decode("ascii")
    SubElement(subject, "ParticipantObjectDetail", type="Alert Description", value=value)


def _object(message: Element, identifier: str, identified_by: _Code, *, role: str) -> Element:
    """A system object; role 3 is a report, 13 a security resource (PS3.15 A.5.1.2.2)."""
    found = SubElement(
        message,
        "ParticipantObjectIdentification",
        ParticipantObjectID=_legal(identifier),
        ParticipantObjectTypeCode="2",
        ParticipantObjectTypeCodeRole=role,
    )
    _coded(found, "ParticipantObjectIDTypeCode", identified_by)
    # The schema wants a name; an identifier is its own.
    SubElement(found, "ParticipantObjectName").text = _legal(identifier)
    return found


def _coded(parent: Element, name: str, code: _Code) -> None:
    SubElement(parent, name, {"csd-code": code.value, "codeSystemName": "DCM", "originalText": code.meaning})


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def _legal(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", text)
