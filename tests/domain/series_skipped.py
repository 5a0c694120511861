"""Series that are not read, and why."""

from ichd.domain.reason import Reason
from ichd.domain.study import ENHANCED_CT_IMAGE_STORAGE, LEGACY_CONVERTED_ENHANCED_CT_IMAGE_STORAGE, SeriesFacts

from .series import CORONAL, IOHEXOL, MPR, REFORMAT, SAGITTAL, scan, thin, tilted, together

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
