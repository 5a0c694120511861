"""What is made here: SOP classes, templates, codes, and how text is encoded."""

from pydicom.sr.coding import Code
from pydicom.uid import UID

from ichd.app.conformance.document import Chapter, Table
from ichd.domain.delivery import SOP_CLASSES, ObjectKind
from ichd.domain.note import Remark
from ichd.domain.reason import Reason
from ichd.intake.values import ENCODINGS
from ichd.publish.association import SYNTAXES
from ichd.report import codes

_WHAT = {
    ObjectKind.SR: "report, TID 1500",
    ObjectKind.SR_COMPREHENSIVE: "the same for peers of an older standard",
    ObjectKind.SR_ENHANCED: "the same, once more",
    ObjectKind.KO: "key slices, TID 2010",
    ObjectKind.SC: "summary page",
    ObjectKind.HEAT: "heat maps as pictures",
    ObjectKind.PARAMETRIC: "heat maps as numbers",
    ObjectKind.GSPS: "window and marks of the key slices",
}


def objects() -> Chapter:
    """SOP instances that we create, and their codes."""
    made = [(UID(uid).name, uid, f"`{kind}`", _WHAT[kind]) for kind, uid in SOP_CLASSES.items()]
    return Chapter(
        title="Objects created",
        blocks=(
            f"Written in {UID(SYNTAXES[0]).name}. All are standard SOP classes without extension; there are no private "
            "attributes and no private SOP classes. Patient and study are taken over from the images as they stand; "
            "UIDs are derived (2.25) from study, model and revision, so that what is sent again is the same object.",
            Table(columns=("SOP class", "UID", "in the settings", "what it is"), rows=made),
        ),
        chapters=(_findings(), _private_codes()),
    )


def character_sets() -> Chapter:
    """Specific Character Set (PS3.3 C.12.1.1.2)."""
    known = ", ".join(ENCODINGS)
    return Chapter(
        title="Character sets",
        blocks=(
            "Images are stored to the bit, in whatever character set they come. Reports repeat that of the images, and "
            "with it the names in it, code extensions (ISO 2022) included; text of our own is ASCII, in English.",
            f"Text that is shown in lists is read in the default repertoire and in {known}; code extensions show "
            "replacement characters there. DICOMweb answers in UTF-8 (ISO_IR 192).",
        ),
    )


def _findings() -> Chapter:
    rows = [
        (name, _code(code), _code(codes.FINDING_SITE[name]), code.meaning) for name, code in codes.FINDING_TYPE.items()
    ]
    return Chapter(
        title="Findings",
        blocks=(Table(columns=("class", "finding type", "finding site", "code meaning"), rows=rows),),
    )


def _private_codes() -> Chapter:
    named = [each for each in vars(codes).values() if isinstance(each, Code)]
    own = [each for each in (*named, *codes.TRIAGE_VALUE.values()) if each.scheme_designator == codes.PRIVATE_SCHEME]
    rows = [(code.value, code.meaning) for code in dict.fromkeys(own)]
    return Chapter(
        title=f"Private coding scheme {codes.PRIVATE_SCHEME}",
        blocks=(
            Table(columns=("code value", "code meaning"), rows=rows),
            f"Also every reason ({len(Reason)} codes, as in the reference of the reasons), and every note on the input "
            f"as {', '.join(f'`{codes.NOTE_PREFIX}{remark}`' for remark in Remark)}.",
        ),
    )


def _code(code: Code) -> str:
    return f"{code.value} {code.scheme_designator}"
