"""What the daemon's choice of series goes by, from a header, and as text that keeps in a column."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ichd.domain.placed import LEAST_PIXEL_MM
from ichd.domain.study import InstanceFacts
from ichd.vision.frames import orientation_of, position_of
from ichd.vision.parsed import Attributes, ParsedFile

#: What `InstanceFacts` has no default for.
_REQUIRED = ("study_instance_uid", "series_instance_uid", "sop_instance_uid", "sop_class_uid", "transfer_syntax_uid")


def facts_of(file: ParsedFile) -> InstanceFacts:
    """The facts that `ichd.domain.selection` asks for; names, dates of studies and counts are none of them."""
    image = file.attributes
    spacing, thickness = image.numbers("PixelSpacing", 2), image.numbers("SliceThickness", 1)
    return InstanceFacts(
        study_instance_uid=image.text("StudyInstanceUID"),
        series_instance_uid=image.text("SeriesInstanceUID"),
        sop_instance_uid=image.text("SOPInstanceUID"),
        sop_class_uid=image.text("SOPClassUID"),
        transfer_syntax_uid=str(file.syntax),
        modality=image.text("Modality").upper(),
        image_type=tuple(value.upper() for value in image.texts("ImageType")),
        rows=image.integer("Rows") or None,
        columns=image.integer("Columns") or None,
        number_of_frames=max(1, image.integer("NumberOfFrames", default=1)),
        image_position=position_of(image),
        image_orientation=orientation_of(image),
        pixel_spacing=(spacing[0], spacing[1]) if spacing is not None and min(spacing) >= LEAST_PIXEL_MM else None,
        slice_thickness_mm=thickness[0] if thickness is not None and thickness[0] >= 0 else None,
        frame_of_reference_uid=image.text("FrameOfReferenceUID") or None,
        series_number=image.integer("SeriesNumber") or None,
        series_description=image.text("SeriesDescription"),
        instance_number=_whole(image, "InstanceNumber"),
        acquisition_number=_whole(image, "AcquisitionNumber"),
        body_part_examined=image.text("BodyPartExamined").upper(),
        convolution_kernel="\\".join(image.texts("ConvolutionKernel")),
        contrast_agent=image.text("ContrastBolusAgent"),
        patient_position=image.text("PatientPosition").upper(),
        volume_calculation=image.text("VolumeBasedCalculationTechnique").upper(),
        quality_control_image=image.text("QualityControlImage").upper() == "YES",
        acquisition_datetime=_acquired(image),
    )


def facts_to_text(facts: InstanceFacts) -> str:
    """As JSON, without what is empty: a column of text takes a tenth of the memory of a list of objects."""
    return json.dumps({key: value for key, value in asdict(facts).items() if value not in {None, "", ()}})


def facts_from_text(text: str) -> InstanceFacts:
    """What `facts_to_text` made."""
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in json.loads(text).items()}
    values: dict[str, Any] = {**dict.fromkeys(_REQUIRED, ""), **given}
    return InstanceFacts(**values)


def _whole(image: Attributes, keyword: str) -> int | None:
    number: Sequence[float] | None = image.numbers(keyword, 1)
    return None if number is None else int(number[0])


def _acquired(image: Attributes) -> str:
    """Digits whose order is that of time, as the daemon has them (`InstanceFacts.acquisition_datetime`)."""
    moment = re.match(r"[0-9]{14}(\.[0-9]{1,6})?", image.text("AcquisitionDateTime"))
    if moment is not None:
        return moment.group()
    date, time = image.text("AcquisitionDate") or image.text("StudyDate"), image.text("AcquisitionTime")
    if not time or not re.fullmatch(r"[0-9]{8}", date):
        return ""
    return date + time if re.fullmatch(r"[0-9]{2,6}(\.[0-9]{1,6})?", time) else date
