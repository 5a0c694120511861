"""Which series is read: one case a row."""

import math
from dataclasses import replace

import pytest

from ichd.domain.note import Remark
from ichd.domain.ranking import deciding
from ichd.domain.reason import Reason
from ichd.domain.refusal import SelectionPolicy
from ichd.domain.selection import notes_on, select_series
from ichd.domain.study import ENHANCED_CT_IMAGE_STORAGE, LEGACY_CONVERTED_ENHANCED_CT_IMAGE_STORAGE, SeriesFacts

from .series import CORONAL, SAGITTAL, scan, study, thin, tilted, together, with_one

POLICY = SelectionPolicy()
IOHEXOL = "OMNIPAQUE 350"
REFORMAT = ("DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE")
MPR = ("DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MPR")


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

SKIPPED: dict[str, tuple[SeriesFacts, Reason, str]] = {
    "other modality": (scan(modality="MR"), Reason.NO_CT_IMAGES, "Modality MR"),
    "no modality": (scan(modality=""), Reason.NO_CT_IMAGES, "Modality none"),
    "enhanced whose frames nobody could tell apart": (
        scan(1, sop_class_uid=ENHANCED_CT_IMAGE_STORAGE),
        Reason.MULTI_FRAME,
        "1 frame",
    ),
    "a converted image whose frames nobody could tell apart": (
        scan(1, sop_class_uid=LEGACY_CONVERTED_ENHANCED_CT_IMAGE_STORAGE),
        Reason.MULTI_FRAME,
        "1 frame",
    ),
    "several frames": (scan(1, number_of_frames=60), Reason.MULTI_FRAME, "60 frames"),
    "scout": (
        scan(2, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"), image_orientation=CORONAL),
        Reason.LOCALIZER,
        "2 of 2 images, ORIGINAL\\PRIMARY\\LOCALIZER",
    ),
    "screen save": (
        scan(3, image_type=("DERIVED", "SECONDARY"), image_position=None, pixel_spacing=None),
        Reason.DERIVED_SECONDARY,
        "3 of 3 images, DERIVED\\SECONDARY",
    ),
    "dose page": (
        scan(1, image_type=("DERIVED", "SECONDARY", "DOSE_INFO"), image_position=None),
        Reason.DERIVED_SECONDARY,
        "1 of 1 images, DERIVED\\SECONDARY\\DOSE_INFO",
    ),
    "object of quality control": (
        scan(quality_control_image=True),
        Reason.QUALITY_CONTROL_OBJECT,
        "Quality Control Image YES in 28 of 28 images",
    ),
    "projection, GE": (
        scan(image_type=("DERIVED", "SECONDARY", "REFORMATTED", "MIN_IP")),
        Reason.PROJECTION,
        "28 of 28 images, DERIVED\\SECONDARY\\REFORMATTED\\MIN_IP",
    ),
    **{
        f"projection, {words}": (
            scan(image_type=("DERIVED", "SECONDARY", "REFORMATTED", words)),
            Reason.PROJECTION,
            f"28 of 28 images, DERIVED\\SECONDARY\\REFORMATTED\\{words}",
        )
        for words in ("MIN IP", "MAX IP", "GE MAX IP")
    },
    "projection, Siemens": (
        scan(image_type=("DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MIP")),
        Reason.PROJECTION,
        "28 of 28 images, DERIVED\\SECONDARY\\AXIAL\\CT_SOM5 MIP",
    ),
    "projection, enhanced": (
        scan(volume_calculation="MAX_IP"),
        Reason.PROJECTION,
        "28 of 28 images, ORIGINAL\\PRIMARY\\AXIAL",
    ),
    "projection by description": (
        scan(series_description="Head thin-MIP 10/3", image_type=()),
        Reason.PROJECTION,
        "28 of 28 images, described so",
    ),
    "volume rendering": (
        scan(image_type=("DERIVED", "SECONDARY", "VRT")),
        Reason.PROJECTION,
        "28 of 28 images, DERIVED\\SECONDARY\\VRT",
    ),
    "perfusion map": (
        scan(image_type=("DERIVED", "PRIMARY", "PERFUSION", "RCBF")),
        Reason.PERFUSION,
        "28 of 28 images, DERIVED\\PRIMARY\\PERFUSION\\RCBF",
    ),
    "time series": (
        together(*(scan(16, acquisition_number=n) for n in range(30))),
        Reason.PERFUSION,
        "480 images of 16 positions",
    ),
    "perfusion by description": (
        scan(series_description="CTP 5.0 Vol"),
        Reason.PERFUSION,
        "described so, 1 image a position",
    ),
    "no position": (scan(image_position=None), Reason.MISSING_GEOMETRY, "28 of 28 images"),
    "spacing of nothing": (scan(pixel_spacing=(0.0, 0.5)), Reason.MISSING_GEOMETRY, "28 of 28 images"),
    "orientation of nothing": (scan(image_orientation=(0,) * 6), Reason.MISSING_GEOMETRY, "28 of 28 images"),
    "coronal series that calls itself axial": (scan(image_orientation=CORONAL), Reason.NOT_AXIAL, "90 degrees"),
    "coronal reformat": (scan(image_orientation=CORONAL, image_type=REFORMAT), Reason.REFORMATTED, "90 degrees"),
    "sagittal reformat": (scan(image_orientation=SAGITTAL, image_type=MPR), Reason.REFORMATTED, "90 degrees"),
    "oblique reformat": (scan(image_orientation=tilted(40), image_type=MPR), Reason.REFORMATTED, "40 degrees"),
    "tilted too far": (scan(image_orientation=tilted(31)), Reason.NOT_AXIAL, "31 degrees"),
    "angiography by agent and thickness": (
        thin(contrast_agent=IOHEXOL),
        Reason.ANGIOGRAPHY,
        "contrast agent, slices of 0.6 mm",
    ),
    "angiography by its words": (
        thin(series_description="CTA Head 0.6"),
        Reason.ANGIOGRAPHY,
        "arterial by its words, slices of 0.6 mm",
    ),
    **{
        f"angiography, {words}": (
            thin(series_description=words, contrast_agent=IOHEXOL),
            Reason.ANGIOGRAPHY,
            "contrast agent and arterial by its words, slices of 0.6 mm",
        )
        for words in ("CTA HEAD W WO CONTRAST", "CT ANGIO HEAD W/WO", "CTA head without and with", "CTA w/o")
    },
    "perfusion with and without": (
        scan(series_description="CT PERFUSION HEAD W WO"),
        Reason.PERFUSION,
        "described so, 1 image a position",
    ),
    "angiography, thick": (
        scan(series_description="Angio Carotis 3.0", slice_thickness_mm=5.0, contrast_agent=IOHEXOL),
        Reason.ANGIOGRAPHY,
        "contrast agent and arterial by its words, slices of 5 mm",
    ),
    "angiography by its kernel": (
        thin(convolution_kernel="Hv40f\\3"),
        Reason.ANGIOGRAPHY,
        "arterial by its words, slices of 0.6 mm",
    ),
    "one slice": (scan(1), Reason.TOO_FEW_SLICES, "1 position, 10 needed"),
    "nine slices": (scan(9, spacing_mm=10.0), Reason.TOO_FEW_SLICES, "9 positions, 10 needed"),
    "one position four times": (scan(4, spacing_mm=0.0), Reason.TOO_FEW_SLICES, "1 position, 10 needed"),
    "one position watched for the bolus": (scan(28, spacing_mm=0.0), Reason.TOO_FEW_SLICES, "1 position, 10 needed"),
    "one slice of a perfusion": (scan(1, series_description="CTP"), Reason.TOO_FEW_SLICES, "1 position, 10 needed"),
    "whole body": (scan(1001), Reason.TOO_MANY_SLICES, "1001 positions, at most 1000"),
    "a slab": (scan(20, spacing_mm=2.0), Reason.SHORT_COVERAGE, "38 mm, 80 mm needed"),
    "hardly too short": (scan(17, spacing_mm=4.99), Reason.SHORT_COVERAGE, "79.8 mm, 80 mm needed"),
    "thin bone, GE": (thin(convolution_kernel="BONE"), Reason.SHARP_KERNEL, "kernel BONE, slices of 0.6 mm"),
    "thin bone, Siemens": (
        thin(convolution_kernel="Hr60h\\3"),
        Reason.SHARP_KERNEL,
        "kernel Hr60h\\3, slices of 0.6 mm",
    ),
    "thin bone, Philips": (thin(convolution_kernel="YC"), Reason.SHARP_KERNEL, "kernel YC, slices of 0.6 mm"),
    "thin bone, Canon": (thin(convolution_kernel="FC30"), Reason.SHARP_KERNEL, "kernel FC30, slices of 0.6 mm"),
    "thin bone by description": (
        thin(series_description="Head thin BONE"),
        Reason.SHARP_KERNEL,
        "kernel by its description, slices of 0.6 mm",
    ),
}

#: Two series: the one that is read, the one that is not, and what decides.
BETTER: dict[str, tuple[SeriesFacts, SeriesFacts, str]] = {
    "a shorter native stack, that may be a child's head, before a longer one with agent": (
        scan(23, uid="1.2.9"),
        scan(28, contrast_agent=IOHEXOL),
        "contrast: none against given",
    ),
    "native before contrast": (
        scan(convolution_kernel="H60s", uid="1.2.9"),
        scan(contrast_agent=IOHEXOL),
        "contrast: none against given",
    ),
    "without gaps before with": (
        scan(27, convolution_kernel="H60s", uid="1.2.9"),
        with_one(scan(), image_position=(-125.0, -125.0, 180.0)),
        "gaps: 0 against 1",
    ),
    "no slice missing before one missing": (
        scan(26, convolution_kernel="H60s", uid="1.2.9"),
        together(scan(14), scan(14, start_mm=75.0)),
        "gaps: 0 against 1",
    ),
    "soft before sharp": (
        thin(convolution_kernel="H31s", uid="1.2.9"),
        scan(convolution_kernel="H60s"),
        "kernel: soft (H31s) against sharp (H60s)",
    ),
    "original before derived": (
        thin(uid="1.2.9"),
        scan(image_type=("DERIVED", "PRIMARY", "AXIAL")),
        "original: original against derived",
    ),
    "derived slices before reformats": (
        thin(uid="1.2.9", image_type=("DERIVED", "PRIMARY", "AXIAL")),
        scan(image_type=REFORMAT),
        "original: derived against reformat",
    ),
    "thick before thin": (scan(uid="1.2.9"), thin(), "thickness: 5 mm against 0.6 mm"),
    "thin before thicker than usual": (thin(uid="1.2.9"), scan(16, spacing_mm=9.0), "thickness: 0.6 mm against 9 mm"),
    "more slices": (scan(30, uid="1.2.9"), scan(28), "positions: 30 against 28"),
    "first UID": (scan(), scan(uid="1.2.9"), "nothing but the order of their UIDs"),
}


@pytest.mark.parametrize("case", READ)
def test_read(case: str) -> None:
    series, remarks = READ[case]
    selection = select_series(study(series), POLICY)
    assert len(selection.candidates) >= 1, selection.refused
    best = selection.candidates[0]
    assert len(best.stack.instances) >= 10
    assert {note.remark for note in notes_on(best.stack)} == remarks


@pytest.mark.parametrize("case", SKIPPED)
def test_skipped(case: str) -> None:
    series, reason, detail = SKIPPED[case]
    selection = select_series(study(series), POLICY)
    assert selection.candidates == ()
    (refused,) = selection.refused
    assert refused.refusal is not None
    assert (refused.stack.series_instance_uid, refused.refusal.reason, refused.refusal.detail) == (
        "1.2.1",
        reason,
        detail,
    )


@pytest.mark.parametrize("case", BETTER)
def test_better(case: str) -> None:
    better, worse, decided = BETTER[case]
    for order in ((better, worse), (worse, better)):
        selection = select_series(study(*order), POLICY)
        first, second = selection.candidates
        assert first.stack.series_instance_uid == better.series_instance_uid
        assert deciding(first.score, second.score) == decided


def test_every_case_of_the_table_says_what_it_was_made_for() -> None:
    """A row whose series is that of another row by mistake would prove nothing."""
    for table in (READ, SKIPPED):
        cases = [(case, series) for case, (series, *_) in table.items()]
        twins = [(a, b) for n, (a, one) in enumerate(cases) for b, other in cases[:n] if one == other]
        assert twins == []
