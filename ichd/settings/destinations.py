"""Who receives reports, and who sends us readers' words about them."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from ichd.settings.base import Address, AETitle, Name, Port, Seconds, Section, existing_port, host_of, port_of
from ichd.settings.dicom import TlsClientSettings

Sent = Literal["sr", "ko", "sc", "heat", "parametric", "gsps", "result", "priority"]

_OBJECTS: frozenset[str] = frozenset({"sr", "ko", "sc", "heat", "parametric", "gsps"})
_MESSAGES: frozenset[str] = frozenset({"result", "priority"})
#: What each kind of destination gets where the settings do not say.
_USUALLY: dict[str, tuple[Sent, ...]] = {
    "dimse": ("sr", "ko", "sc"),
    "stow": ("sr", "ko", "sc"),
    "hl7": ("result",),
    "webhook": (),
}


class DestinationSettings(Section):
    """One receiver of reports."""

    name: Name = Field(description="Name in lists and receipts; unique.")
    kind: Literal["dimse", "stow", "hl7", "webhook"] = Field(
        default="dimse", description="dimse: C-STORE; stow: STOW-RS; hl7: ORU^R01 over MLLP; webhook: JSON."
    )
    address: Address | None = Field(default=None, description="HOST:PORT of a dimse or hl7 receiver.")
    ae_title: AETitle | None = Field(default=None, description="AE title of a dimse receiver.")
    url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Root of a DICOMweb service (https://pacs/dicom-web), or where a webhook is posted.",
    )
    send: tuple[Sent, ...] | None = Field(
        default=None,
        min_length=1,
        description="Of sr, ko, sc, heat, parametric, gsps; for hl7 of result, priority. sr, ko, sc when left out.",
    )
    not_analysed: bool = Field(
        default=False, description="Send a short report, with its reason, of a study that was not analysed, too."
    )
    confirm: Literal["no", "commitment", "read_back"] = Field(
        default="no", description="commitment: storage commitment; read_back: C-FIND or QIDO-RS until all is listed."
    )
    tls: TlsClientSettings | None = Field(default=None, description="TLS to this receiver; https needs no table.")
    token: str | None = Field(default=None, description="Bearer token of a stow receiver or a webhook.")
    token_file: Path | None = Field(default=None, description="File that holds it, in place of `token`.")
    account: str | None = Field(default=None, description="Account of a receiver that wants a password.")
    password: str | None = Field(default=None, description="Its password.")
    password_file: Path | None = Field(default=None, description="File that holds it, in place of `password`.")
    secret: str | None = Field(default=None, min_length=16, description="Key that a webhook's body is signed with.")
    secret_file: Path | None = Field(default=None, description="File that holds it, in place of `secret`.")
    identifiers: bool = Field(
        default=False, description="Let a webhook's body name patient and accession number; else it has UIDs only."
    )
    application: str = Field(default="", max_length=180, description="Receiving application of HL7 messages, MSH-5.")
    facility: str = Field(default="", max_length=180, description="Receiving facility of HL7 messages, MSH-6.")
    timeout_s: Seconds = Field(default=30.0, description="Longest wait for any answer of the receiver.")
    give_up_after_h: float = Field(
        default=72.0, gt=0, description="A delivery that is owed for so long is dead and waits for `ichd retry`."
    )

    @field_validator("address")
    @classmethod
    def _port_exists(cls, value: str | None) -> str | None:
        return None if value is None else existing_port(value)

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if self.kind in {"dimse", "hl7"} and self.address is None:
            raise ValueError(f"is a destination of kind {self.kind} and needs address")
        if self.kind == "dimse" and self.ae_title is None:
            raise ValueError("is a destination of kind dimse and needs ae_title")
        if self.kind in {"stow", "webhook"} and self.url is None:
            raise ValueError(f"is a destination of kind {self.kind} and needs url")
        if self.kind == "webhook" and self.secret is None and self.secret_file is None:
            raise ValueError("is a webhook and needs secret or secret_file, or its receiver can't know who posts")
        for key in ("token", "password", "secret"):
            if getattr(self, key) is not None and getattr(self, f"{key}_file") is not None:
                raise ValueError(f"names {key} and {key}_file; give one of them")
        return self

    @model_validator(mode="after")
    def _sends_what_it_can(self) -> Self:
        fitting = {"hl7": _MESSAGES, "webhook": frozenset()}.get(self.kind, _OBJECTS)
        for sent in self.send or ():
            if sent not in fitting:
                known = ", ".join(sorted(fitting)) or "nothing: leave send out"
                raise ValueError(f"is a destination of kind {self.kind} and can't send {sent}; it can send {known}")
        if self.confirm != "no" and self.kind not in {"dimse", "stow"}:
            raise ValueError(f"is a destination of kind {self.kind}, which has no way to confirm; leave confirm out")
        if self.confirm == "commitment" and self.kind != "dimse":
            raise ValueError('has no storage commitment, being a stow destination; use confirm = "read_back"')
        return self

    @property
    def sends(self) -> tuple[Sent, ...]:
        """What it gets; nothing for a webhook, which has one body."""
        return self.send if self.send is not None else _USUALLY[self.kind]

    @property
    def host(self) -> str:
        """The part of the address before its last colon."""
        return host_of(self.address or "")

    @property
    def port(self) -> int:
        """The part of the address after its last colon."""
        return port_of(self.address or ":0")


class FeedbackSettings(Section):
    """Readers' words about findings that come as HL7 messages (ORU^R01 over MLLP); the web role takes them."""

    hl7_port: Port | None = Field(default=None, description="Port to take messages on; none when left out.")
    hl7_host: str = Field(default="127.0.0.1", description="Address to take them on.")
    observation: str = Field(default="ICH-AI", min_length=1, description="Code (OBX-3.1) of the word on our finding.")
    agreed: tuple[str, ...] = Field(default=("AGREED", "A"), min_length=1, description="OBX-5 that agrees with it.")
    disagreed: tuple[str, ...] = Field(default=("DISAGREED", "D"), min_length=1, description="OBX-5 that does not.")
