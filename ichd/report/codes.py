"""The coded concepts of the report.

Meanings are written out here because the dictionaries at hand are ambiguous: pydicom's maps 1386000 to "Occlusion of
artery" too, and a reader shows the meaning, not the value.
"""

from collections.abc import Mapping

from pydicom.sr.coding import Code

from ichd.domain.finding import Presence, Triage
from ichd.domain.note import Remark
from ichd.domain.reason import Reason

#: Coding scheme of this package for what no public scheme says (PS3.16 section 8: "99" marks a private one).
PRIVATE_SCHEME = "99ICHD"

#: What each output of the network claims.
FINDING_TYPE: Mapping[str, Code] = {
    "any": Code("1386000", "SCT", "Intracranial hemorrhage"),
    "intraparenchymal": Code("274100004", "SCT", "Cerebral hemorrhage"),
    "intraventricular": Code("23276006", "SCT", "Intraventricular hemorrhage"),
    "subarachnoid": Code("21454007", "SCT", "Subarachnoid hemorrhage"),
    "subdural": Code("35486000", "SCT", "Subdural hemorrhage"),
    "epidural": Code("82999001", "SCT", "Epidural hemorrhage"),
}

HEAD = Code("69536005", "SCT", "Head")
BRAIN = Code("12738006", "SCT", "Brain")

#: Blood inside the brain is sited there; blood around it, or anywhere, in the head.
FINDING_SITE: Mapping[str, Code] = {
    "any": HEAD,
    "intraparenchymal": BRAIN,
    "intraventricular": BRAIN,
    "subarachnoid": HEAD,
    "subdural": HEAD,
    "epidural": HEAD,
}

PRESENCE = Code("705057003", "SCT", "Presence")
PRESENCE_VALUE: Mapping[Presence, Code] = {
    Presence.PRESENT: Code("52101004", "SCT", "Present"),
    Presence.ABSENT: Code("272519000", "SCT", "Absent"),
    Presence.UNDETERMINED: Code("373068000", "SCT", "Undetermined"),
}

TRIAGE = Code("triage", PRIVATE_SCHEME, "Triage level")
TRIAGE_VALUE: Mapping[Triage, Code] = {
    Triage.URGENT: Code("urgent", PRIVATE_SCHEME, "Urgent"),
    Triage.ROUTINE: Code("routine", PRIVATE_SCHEME, "Routine"),
    Triage.INDETERMINATE: Code("indeterminate", PRIVATE_SCHEME, "Indeterminate"),
}

#: What the model may be used for, in every report.
STATUS = Code("status", PRIVATE_SCHEME, "Status of the result")
DEMONSTRATION = Code("demonstration", PRIVATE_SCHEME, "Demonstration; not for clinical use")
RESEARCH = Code("research", PRIVATE_SCHEME, "Research use; not cleared as a medical device")

#: What the probabilities are, and what they are not.
CALIBRATION = Code("calibration", PRIVATE_SCHEME, "Meaning of the probabilities")
CALIBRATED = Code("calibrated", PRIVATE_SCHEME, "Calibrated from the highest slice")

ANALYSIS = Code("analysis", PRIVATE_SCHEME, "Analysis")
NOT_ANALYSED = Code("not_analysed", PRIVATE_SCHEME, "Not analysed")
REASON = Code("reason", PRIVATE_SCHEME, "Reason")


def reason_code(reason: Reason) -> Code:
    """A coded reason; its meaning may be longer than a Code Meaning can be, so its own words stand here."""
    return Code(str(reason), PRIVATE_SCHEME, _in_words(str(reason)))


def remark_code(remark: Remark) -> Code:
    """A coded note on the input; prefixed, since a few reasons have the same code."""
    return Code(f"{NOTE_PREFIX}{remark}", PRIVATE_SCHEME, f"Input: {_in_words(str(remark)).lower()}")


NOTE_PREFIX = "note_"


def _in_words(code: str) -> str:
    return code.replace("_", " ").capitalize()


#: Said of a study that was not read, of which nobody knows whether it is of the head.
CT = Code("77477000", "SCT", "Computed tomography")
CT_OF_HEAD = Code("303653007", "SCT", "CT of head")
PROBABILITY = Code("122157", "DCM", "Probability")
PERCENT = Code("%", "UCUM", "%")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")

# Names of content items, by the template that defines them (PS3.16).
IMAGING_MEASUREMENT_REPORT = Code("126000", "DCM", "Imaging Measurement Report")  # TID 1500
IMAGING_MEASUREMENTS = Code("126010", "DCM", "Imaging Measurements")  # TID 1500
QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")  # TID 1500
MEASUREMENT_GROUP = Code("125007", "DCM", "Measurement Group")  # TID 1501
FINDING = Code("121071", "DCM", "Finding")  # TID 1501
SOURCE_OF_MEASUREMENT = Code("121112", "DCM", "Source of Measurement")  # CID 7551, image purpose in TID 1501
ALGORITHM_NAME = Code("111001", "DCM", "Algorithm Name")  # TID 4019
ALGORITHM_VERSION = Code("111003", "DCM", "Algorithm Version")  # TID 4019
ALGORITHM_PARAMETERS = Code("111002", "DCM", "Algorithm Parameters")  # TID 4019
TRACKING_UID = Code("112040", "DCM", "Tracking Unique Identifier")  # TID 4108
COMMENT = Code("121106", "DCM", "Comment")

LANGUAGE = Code("121049", "DCM", "Language of Content Item and Descendants")  # TID 1204
ENGLISH = Code("en-US", "RFC5646", "English (United States)")  # CID 5000
OBSERVER_TYPE = Code("121005", "DCM", "Observer Type")  # TID 1002
DEVICE = Code("121007", "DCM", "Device")  # CID 270
DEVICE_UID = Code("121012", "DCM", "Device Observer UID")  # TID 1004
DEVICE_NAME = Code("121013", "DCM", "Device Observer Name")  # TID 1004
DEVICE_MANUFACTURER = Code("121014", "DCM", "Device Observer Manufacturer")  # TID 1004
DEVICE_MODEL = Code("121015", "DCM", "Device Observer Model Name")  # TID 1004
PROCEDURE_REPORTED = Code("121058", "DCM", "Procedure reported")  # TID 1500
IMAGE_LIBRARY = Code("111028", "DCM", "Image Library")  # TID 1600
IMAGE_LIBRARY_GROUP = Code("126200", "DCM", "Image Library Group")  # TID 1600
MODALITY = Code("121139", "DCM", "Modality")  # TID 1602
COMPUTED_TOMOGRAPHY = Code("CT", "DCM", "Computed Tomography")  # CID 29
TARGET_REGION = Code("123014", "DCM", "Target Region")  # TID 1602
FRAME_OF_REFERENCE = Code("112227", "DCM", "Frame of Reference UID")  # TID 1602
PIXEL_ROWS = Code("110910", "DCM", "Pixel Data Rows")  # TID 1602
PIXEL_COLUMNS = Code("110911", "DCM", "Pixel Data Columns")  # TID 1602
HORIZONTAL_SPACING = Code("111026", "DCM", "Horizontal Pixel Spacing")  # TID 1604
VERTICAL_SPACING = Code("111066", "DCM", "Vertical Pixel Spacing")  # TID 1604
SLICE_THICKNESS = Code("112225", "DCM", "Slice Thickness")  # TID 1604
PIXELS = Code("{pixels}", "UCUM", "pixels")
MILLIMETRE = Code("mm", "UCUM", "mm")
TRACKING_IDENTIFIER = Code("112039", "DCM", "Tracking Identifier")  # TID 4108
SITE = Code("363698007", "SCT", "Finding Site")  # TID 1501
ALGORITHM_FAMILY = Code("111000", "DCM", "Algorithm Family")  # TID 4019
DERIVATION = Code("121401", "DCM", "Derivation")  # TID 300
MAXIMUM = Code("56851009", "SCT", "Maximum")  # CID 7464
OF_INTEREST = Code("113000", "DCM", "Of Interest")  # CID 7010
KEY_OBJECT_DESCRIPTION = Code("113012", "DCM", "Key Object Description")  # TID 2010
ACQUISITION_EQUIPMENT = Code("109101", "DCM", "Acquisition Equipment")  # CID 7005
PROCESSING_EQUIPMENT = Code("109102", "DCM", "Processing Equipment")  # CID 7005
