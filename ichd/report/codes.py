"""The coded concepts of the report.

Meanings are written out here because the dictionaries at hand are ambiguous: pydicom's maps 1386000 to "Occlusion of
artery" too, and a reader shows the meaning, not the value.
"""

from collections.abc import Mapping

from pydicom.sr.coding import Code

from ichd.domain.finding import Presence, Triage

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
