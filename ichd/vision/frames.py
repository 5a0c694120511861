"""The frames of a multi-frame CT, each with the attributes that a slice of its own would have.

Enhanced and legacy converted CT keep what may change from frame to frame in functional groups (PS3.3 C.7.6.16): an item
for each frame, and one for what all share. Here they are laid one over the other, so that everything behind reads
frames like slices.
"""

import re
from dataclasses import replace

from pydicom import Dataset

from ichd.domain.errors import NotAnalysable
from ichd.domain.geometry import Orientation, Vector, slice_normal
from ichd.domain.image_file import AnyImage
from ichd.domain.placed import LEAST_PIXEL_MM
from ichd.domain.reason import Reason
from ichd.domain.study import InstanceFacts
from ichd.vision.parsed import Attributes, ParsedFile, parse

_PER_FRAME, _SHARED = "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"
#: The macros that say where a frame lies and how it was made; names that others use differently are not looked for.
_MACROS = (
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
    "FrameContentSequence",
    "CTImageFrameTypeSequence",
    "CTReconstructionSequence",
    "UnassignedPerFrameConvertedAttributesSequence",
    "UnassignedSharedConvertedAttributesSequence",
)


def frame_attributes(file: ParsedFile) -> tuple[Attributes, ...]:
    """What is said of each frame, in stored order, those of the whole image behind; none where a file has no groups.

    Raises:
        NotAnalysable: MULTI_FRAME, there are several frames without a group for each.
    """
    image = file.attributes
    count = max(1, image.integer("NumberOfFrames", default=1))
    groups, shared = image.items(_PER_FRAME), image.items(_SHARED)
    if count == 1 and not groups and not shared:
        return ()
    if len(groups) != count:
        raise NotAnalysable(
            Reason.MULTI_FRAME, f"{file.path.name} has {count} frames and functional groups for {len(groups)}"
        )
    common = tuple(item for group in shared[:1] for item in _macros(group))
    # The groups themselves stand behind their macros, for those that have an item for each of several things.
    return tuple(Attributes(*_macros(group), group, *common, *shared[:1], *image.datasets) for group in groups)


def frame_facts(file: AnyImage, facts: InstanceFacts) -> tuple[InstanceFacts, ...]:
    """The facts of each frame, in stored order; those of an image that has no functional groups stay as they are.

    Raises:
        NotAnalysable: MULTI_FRAME, and what `parse` raises.
        Transient: STORE_UNAVAILABLE.
    """
    frames = frame_attributes(parse(file))
    if not frames:
        return (facts,)
    return tuple(_facts(frame, number, facts) for number, frame in enumerate(frames, start=1))


def frame_acquisition_number(frame: Attributes) -> int:
    """The acquisition that a frame comes from, 0 where nothing is said (Frame Content, PS3.3 C.7.6.16.2.2)."""
    return frame.integer("FrameAcquisitionNumber", default=frame.integer("AcquisitionNumber"))


def _facts(frame: Attributes, number: int, facts: InstanceFacts) -> InstanceFacts:
    spacing, thickness = frame.numbers("PixelSpacing", 2), frame.numbers("SliceThickness", 1)
    return replace(
        facts,
        frame_number=number,
        instance_number=number,
        image_type=tuple(value.upper() for value in frame.texts("FrameType")) or facts.image_type,
        image_position=position_of(frame),
        image_orientation=orientation_of(frame),
        pixel_spacing=(spacing[0], spacing[1]) if spacing is not None and min(spacing) >= LEAST_PIXEL_MM else None,
        slice_thickness_mm=thickness[0] if thickness is not None and thickness[0] >= 0 else None,
        acquisition_number=frame_acquisition_number(frame) or facts.acquisition_number,
        convolution_kernel=frame.text("ConvolutionKernel") or facts.convolution_kernel,
        contrast_agent=_contrast_agent(frame, facts.contrast_agent),
        volume_calculation=frame.text("VolumeBasedCalculationTechnique").upper() or facts.volume_calculation,
        acquisition_datetime=_acquisition_datetime(frame) or facts.acquisition_datetime,
    )


def position_of(frame: Attributes) -> Vector | None:
    """Image Position (Patient), mm."""
    numbers = frame.numbers("ImagePositionPatient", 3)
    return None if numbers is None else (numbers[0], numbers[1], numbers[2])


def orientation_of(frame: Attributes) -> Orientation | None:
    """Image Orientation (Patient); None where rows and columns are not at a right angle."""
    numbers = frame.numbers("ImageOrientationPatient", 6)
    if numbers is None:
        return None
    orientation = (numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5])
    return orientation if slice_normal(orientation) is not None else None


def _acquisition_datetime(frame: Attributes) -> str:
    """Digits whose order is that of time, without an offset from UTC, as `ichd.intake.header` gives them."""
    moment = re.match(r"[0-9]{14}(\.[0-9]{1,6})?", frame.text("FrameAcquisitionDateTime"))
    return "" if moment is None else moment.group()


def _contrast_agent(frame: Attributes, of_image: str) -> str:
    """What was given before this frame (Enhanced Contrast/Bolus, PS3.3 C.7.6.4b); empty where nothing was.

    One usage item an agent (PS3.3 C.7.6.16.2.12): one YES among them is enough, and only where each says NO does the
    frame know better than the image, `of_image`.
    """
    usages = [Attributes(item) for item in frame.items("ContrastBolusUsageSequence")]
    administered = [usage.text("ContrastBolusAgentAdministered").upper() for usage in usages]
    if administered and all(answer == "NO" for answer in administered):
        return ""
    given = {
        u.integer("ContrastBolusAgentNumber") for u, answer in zip(usages, administered, strict=True) if answer == "YES"
    }
    agents = [Attributes(item) for item in frame.items("ContrastBolusAgentSequence")]
    named = [agent for agent in agents if agent.integer("ContrastBolusAgentNumber") in given] or agents
    if named:
        return named[0].text("CodeMeaning") or "contrast agent"
    return of_image or ("contrast agent" if given else "")


def _macros(group: Dataset) -> list[Dataset]:
    """The first item of each macro that a functional group has."""
    attributes = Attributes(group)
    return [item for keyword in _MACROS for item in attributes.items(keyword)[:1]]
