"""What an integrator reads first: which services there are, whom the statement is for, how the parts fit together."""

from collections.abc import Iterable, Sequence

from pydicom.uid import UID

from ichd.app.conformance.document import Block, Chapter, Table
from ichd.app.conformance.facts import Activity, Context
from ichd.settings import Settings

_PLACES = {True: "yes", False: "no"}


def overview(settings: Settings, accepted: Sequence[Context], opened: Sequence[Activity]) -> Chapter:
    """Every SOP class with our roles, and the DICOMweb services, on one page."""
    web = any(each.kind == "dicomweb" for each in settings.source)
    stow = any(each.kind == "stow" for each in settings.destination)
    services = [
        ("STOW-RS (Store)", _PLACES[stow], "yes"),
        ("QIDO-RS (Search)", _PLACES[web or stow], "yes"),
        ("WADO-RS (Retrieve)", _PLACES[web], "yes"),
    ]
    return Chapter(
        title="Overview",
        blocks=(
            "ichd takes CT images of the head, looks for intracranial haemorrhage with a neural network, and "
            "answers with a Structured Report, key objects and pictures to the archives that it is told of. This "
            "statement was derived from the program and from the settings that it runs with: a service that the "
            "settings do not use is not listed.",
            Table(
                caption="Network services (DIMSE)",
                columns=("SOP class", "UID", "user (SCU)", "provider (SCP)"),
                rows=_sop_classes(accepted, opened),
            ),
            Table(caption="DICOMweb services", columns=("service", "user agent", "origin server"), rows=services),
            "Media interchange is not supported.",
        ),
    )


def introduction() -> Chapter:
    """Readers, and what a statement can't promise."""
    return Chapter(
        title="Introduction",
        chapters=(
            Chapter(
                title="Audience",
                blocks=("Who connects ichd to a modality, an archive or a viewer, and knows the DICOM Standard.",),
            ),
            Chapter(
                title="Remarks",
                blocks=(
                    "A conformance statement makes a first comparison possible; it does not replace tests. "
                    "`ichd doctor` tries each connection, and `ichd commission` takes synthetic studies along the "
                    "whole route and checks what the archive then holds.",
                    "The sections follow the template of PS3.2 annex N. Results are of research and demonstration; the "
                    "device observer of each report is a program, and no report is verified by a person.",
                ),
            ),
            Chapter(
                title="Terms",
                blocks=(
                    (
                        "AE: Application Entity. SCU, SCP: service class user, service class provider.",
                        "Source: an archive that may be asked (`[[source]]`). Destination: a receiver of results "
                        "(`[[destination]]`).",
                        "Accepted: what the listener agrees to when a peer proposes it. Proposed: what we ask for.",
                    ),
                ),
            ),
        ),
    )


def implementation_model(settings: Settings) -> Chapter:
    """One AE title, two parts: who listens, and who opens associations."""
    ae_title = settings.dicom.ae_title
    flow = (
        "A peer opens an association to the listener and stores images (C-STORE), or posts them by STOW-RS. An image "
        "is acknowledged once it is on disk and in the database.",
        "A study is read when the evidence says that it is complete: the association was released, counts agree, or it "
        "has been quiet for a while. A late image makes a new revision, whose report names its predecessor.",
        "The report and what goes with it are sent to each destination until it has acknowledged them.",
    )
    blocks: list[Block] = [
        f"All parts have the AE title `{ae_title}`. The listener accepts associations; workers and commands open them. "
        "They are separate processes, and may run on several machines with one database.",
        flow,
    ]
    return Chapter(title="Implementation model", blocks=blocks)


def _sop_classes(accepted: Iterable[Context], opened: Iterable[Activity]) -> list[tuple[str, str, str, str]]:
    roles: dict[str, set[str]] = {}
    for context in (*accepted, *(context for activity in opened for context in activity.contexts)):
        roles.setdefault(context.abstract_syntax, set()).update(context.role.split(", "))
    return [
        (UID(uid).name, uid, _PLACES["SCU" in ours], _PLACES["SCP" in ours])
        for uid, ours in sorted(roles.items(), key=lambda pair: UID(pair[0]).name)
    ]
