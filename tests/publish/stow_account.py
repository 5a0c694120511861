"""Deliveries by STOW-RS, and what a server may say of them."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from ichd.domain.delivery import SOP_CLASSES, ObjectKind
from ichd.domain.errors import CodedError
from ichd.publish.stow import Stow
from ichd.publish.web import WebPeer
from tests.peers.web import Request
from tests.publish.parcels import Outbox
from tests.report.findings import CREATED_AT

JSON = {"Content-Type": "application/dicom+json"}


def sender(url: str, **options: Any) -> Stow:
    return Stow(peer=WebPeer(name="pacs", url=url, **options))


def uid_of(kind: ObjectKind) -> str:
    return f"2.25.4711{list(ObjectKind).index(kind)}"


def outcome(way: Stow, outbox: Outbox, *wanted: ObjectKind) -> CodedError:
    with pytest.raises(CodedError) as caught:
        way.deliver(outbox.parcel(*wanted), now=CREATED_AT)
    assert "DOE" not in caught.value.detail, "a server's words may name the patient"
    assert "pacs (http" in caught.value.detail
    return caught.value


def account(
    *stored: ObjectKind, failed: Mapping[ObjectKind, int] | None = None, warned: Mapping[ObjectKind, int] | None = None
) -> bytes:
    """A Store Instances Response (PS3.18 I.2) as JSON; its comment names a patient, as some servers' do."""

    def item(kind: ObjectKind, **reason: int) -> dict[str, Any]:
        said = {f"0008{tag.removeprefix('t')}": {"vr": "US", "Value": [value]} for tag, value in reason.items()}
        reference = {
            "00081150": {"vr": "UI", "Value": [SOP_CLASSES[kind]]},
            "00081155": {"vr": "UI", "Value": [uid_of(kind)]},
        }
        return reference | said

    body: dict[str, Any] = {"00081190": {"vr": "UR", "Value": ["http://pacs/DOE"]}}
    references = [item(kind) for kind in stored] + [item(kind, t1196=why) for kind, why in (warned or {}).items()]
    if references:
        body["00081199"] = {"vr": "SQ", "Value": references}
    if failed:
        body["00081198"] = {"vr": "SQ", "Value": [item(kind, t1197=why) for kind, why in failed.items()]}
    return json.dumps(body).encode()


def files_in(request: Request) -> list[bytes]:
    """The parts of a multipart/related body."""
    boundary = request.headers["content-type"].split('boundary="')[1].rstrip('"').encode()
    parts = request.body.split(b"--" + boundary)[1:-1]
    return [part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for part in parts]
