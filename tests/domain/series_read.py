"""Series that are read where there is nothing else."""

import math
from dataclasses import replace

from ichd.domain.note import Remark
from ichd.domain.study import ENHANCED_CT_IMAGE_STORAGE, SeriesFacts

from .series import CORONAL, IOHEXOL, MPR, REFORMAT, SAGITTAL, scan, thin, tilted, together, with_one


def frames() -> SeriesFacts:
    """As they come out of one file: one SOP Instance UID, and numbers."""
    series = scan(number_of_frames=28, sop_class_uid=ENHANCED_CT_IMAGE_STORAGE, sop_instance_uid="1.2.1.7")
    images = (replace(i, frame_number=n, instance_number=1) for n, i in enumerate(series.instances, 1))
    return replace(series, instances=tuple(images))


#: Series that are read where there is nothing else, and the remarks that go with them.
READ: dict[str, tuple[SeriesFacts, set[Remark]]] = {
    "plain head": (scan(), set()),
    "thin slices": (thin(), set()),
    "gantry tilt of 25 degrees": (scan(image_orientation=tilted(25)), set()),
    "no image type": (scan(image_type=()), set()),
    "the body part says chest": (scan(body_part_examined="CHEST"), set()),
    "native, by the name of a protocol": (scan(series_description="Head w/o  CTA/CTP protocol"), set()),
    "native, of a perfusion protocol": (scan(series_description="NCCT (perfusion protocol)"), set()),
    "a position twice": (with_one(scan(), image_position=(-125.0, -125.0, 0.0)),
                         {Remark.DUPLICATE_POSITIONS}),
    "one image lacks its frame of reference": (with_one(scan(), frame_of_reference_uid=None), set()),
    "uneven spacing": (with_one(scan(), image_position=(-125.0, -125.0, 138.0)), set()),
    "fewest slices that are read": (scan(10, spacing_mm=9.0), set()),
    "most slices that are read": (scan(1000, spacing_mm=0.3), set()),
    "from head to foot": (scan(spacing_mm=-5.0), set()),
    "frames of one enhanced image": (frames(), set()),
    "thick slices that overlap": (scan(56, spacing_mm=2.5, slice_thickness_mm=5.0, convolution_kernel="H60s"),
                                  {Remark.SHARP_KERNEL}),
    "derived but primary, as lossy compression makes them": (
        scan(image_type=("DERIVED", "PRIMARY", "AXIAL")),
        {Remark.DERIVED_IMAGES},
    ),
    "axial reformat of a thin stack": (scan(image_type=MPR), {Remark.DERIVED_IMAGES}),
    "axial reformat by averaging": (scan(image_type=REFORMAT), {Remark.DERIVED_IMAGES}),
    **{
        f"agent beside what is none: {words}": (scan(contrast_agent=words), {Remark.CONTRAST_AGENT})
        for words in ("ORAL AND IV CONTRAST", "SALINE, OMNIPAQUE 350", "Oral Omnipaque")
    },
    "thick slices with contrast agent": (scan(contrast_agent=IOHEXOL), {Remark.CONTRAST_AGENT}),
    "contrast agent by description": (scan(series_description="Head 5mm C+"), {Remark.CONTRAST_AGENT}),
    "contrast agent by description, abbreviated": (
        scan(series_description="Brain w/ IV contrast"),
        {Remark.CONTRAST_AGENT},
    ),
    "agent of the protocol, and a description that says not yet": (
        scan(series_description="HEAD W/O CONTRAST", contrast_agent=IOHEXOL),
        set(),
    ),
    **{
        f"agent that is none: {words}": (thin(contrast_agent=words), set())
        for words in ("SALINE", "Oral contrast", "None", "N/A", "NA", "NIL", "not given", "NONE GIVEN", "UNKNOWN",
                      "NO IV CONTRAST", "Not applicable", "WO", "-", "non-contrast")
    },
    "with and without: the agent has the word": (
        scan(series_description="HEAD W WO CONTRAST AX POST", contrast_agent=IOHEXOL),
        {Remark.CONTRAST_AGENT},
    ),
    "with and without, and no agent": (thin(series_description="HEAD W/WO"), set()),
    "halves on two grids": (
        together(
            scan(14, spacing_mm=2.5, pixel_spacing=(0.43, 0.43), acquisition_number=1),
            scan(20, start_mm=37.5, acquisition_number=2),
        ),
        {Remark.IMAGES_LEFT_OUT},
    ),
    "as many slices of another pixel size, nobody knows why": (
        together(scan(), scan(pixel_spacing=(0.45, 0.45))),
        {Remark.IMAGES_LEFT_OUT},
    ),
    "as many slices of a patient who was turned": (
        together(scan(patient_position="HFS"), scan(patient_position="HFP")),
        {Remark.IMAGES_LEFT_OUT},
    ),
    "two kernels of one acquisition": (
        together(scan(convolution_kernel="H31s"), scan(convolution_kernel="H60s")),
        set(),
    ),
    "two kernels of one acquisition, on two grids": (
        together(scan(convolution_kernel="H31s"), scan(convolution_kernel="H60s", pixel_spacing=(0.4, 0.4))),
        set(),
    ),
    "the slices, and a thicker reformat of them": (together(scan(), scan(12, spacing_mm=9.0, image_type=MPR)), set()),
    "thin native stack of an angiography protocol": (thin(series_description="CTA head native"), set()),
    "thick slices with a bone kernel": (scan(convolution_kernel="BONEPLUS"), {Remark.SHARP_KERNEL}),
    "thick bone by description": (scan(series_description="Bone 3mm"), {Remark.SHARP_KERNEL}),
    "thick soft kernel called bone": (scan(series_description="Bone 3mm", convolution_kernel="H31s"), set()),
    "scouts among the slices": (together(scan(2, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"),
                                              image_orientation=SAGITTAL), scan()), set()),
    "scanned twice": (
        together(scan(acquisition_number=1), scan(acquisition_number=2)),
        {Remark.ACQUISITION_LEFT_OUT},
    ),
    "two halves": (
        together(
            scan(14, acquisition_number=1, spacing_mm=2.5, slice_thickness_mm=2.5),
            scan(20, acquisition_number=2, start_mm=37.5, slice_thickness_mm=5.0),
        ),
        set(),
    ),
    "a slice of another size": (with_one(scan(), rows=256), {Remark.IMAGES_LEFT_OUT}),
    "a slice of another frame of reference": (
        with_one(scan(), frame_of_reference_uid="1.2.8"),
        {Remark.IMAGES_LEFT_OUT},
    ),
    "a slice turned": (with_one(scan(), image_orientation=tilted(5)), {Remark.IMAGES_LEFT_OUT}),
    "a slice without spacing": (with_one(scan(), pixel_spacing=None), {Remark.IMAGES_LEFT_OUT}),
    "a slice without orientation": (with_one(scan(), image_orientation=None), {Remark.IMAGES_LEFT_OUT}),
    "a slice at infinity": (with_one(scan(), image_position=(0.0, 0.0, math.inf)), {Remark.IMAGES_LEFT_OUT}),
    "a slice at no number": (with_one(scan(), image_position=(0.0, 0.0, math.nan)), {Remark.IMAGES_LEFT_OUT}),
    "a coronal image beside": (with_one(scan(), image_orientation=CORONAL), set()),
}  # fmt: skip
