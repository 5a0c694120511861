"""How a class and its probability read, wherever a person meets them."""

from ichd.domain.finding import Finding

#: The maximum grows with the number of slices, and no reader may take it for the scan's calibrated risk.
HIGHEST_SLICE = "Each probability is that of the slice with the highest one, not a calibrated risk of the scan."

_METHOD = {"platt": "Platt", "isotonic": "isotonic"}


def class_label(name: str) -> str:
    """A class of the model for people."""
    return "Any haemorrhage" if name == "any" else name.capitalize()


def percent(probability: float) -> str:
    """0.9712 is `97.1 %`: around a threshold, whole numbers would look alike that are called differently.

    Never 0 or 100 %, which would claim a certainty that no model has.
    """
    value = probability * 100
    if value < 0.1:
        return "< 0.1 %"
    return "> 99.9 %" if value > 99.9 else f"{value:.1f} %"


def meaning_of_probabilities(finding: Finding) -> str:
    """What the scan's probabilities mean: how and on whom they were calibrated, or that they were not."""
    calibrated = next((c.calibration for c in finding.classes if c.calibration is not None), None)
    if calibrated is None:
        return HIGHEST_SLICE
    whom = f"{calibrated.scans} scans of {calibrated.patients} patients"
    how_many = f"{_share(calibrated.prevalence)} with haemorrhage"
    moved = "" if calibrated.site_prevalence is None else f"; set to {_share(calibrated.site_prevalence)} here"
    said = f"Scan probabilities: {_METHOD[calibrated.method]}-calibrated on {whom}, {how_many}{moved}."
    left = [c.name for c in finding.classes if c.calibration is None]
    return f"{said} Not calibrated, highest slice: {', '.join(left)}." if left else said


def _share(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"
