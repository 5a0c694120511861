"""Probabilities at a place where haemorrhage is as common as somebody says.

Assumption: a scan with blood looks alike in both places, and so does one without; only how many there are differs
(label shift: Saerens et al., Neural Comput. 14 (2002) 21). Then the odds of every scan move by the same factor, and so
do thresholds: what is called stays the same, and what a probability says is right again.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from ichd.domain.scan_calibration import ScanCalibration, expit, logit


def kind_prevalence(calibrations: Mapping[str, ScanCalibration], name: str, prevalence: float) -> float:
    """Of a class, where `any` has `prevalence`: the mix of kinds among the scans with blood is taken to stay."""
    return prevalence * min(1.0, calibrations[name].prevalence / calibrations[CLASSES[0]].prevalence)


def at_prevalence(calibrations: Mapping[str, ScanCalibration], prevalence: float) -> dict[str, ScanCalibration]:
    """Every class moved to where haemorrhage of any kind has this prevalence.

    Raises:
        UserError: the prevalence is none, or `any` is not calibrated.
    """
    if not 0 < prevalence < 1:
        raise UserError(f"--prevalence {prevalence} is no share between 0 and 1; give that of scans with haemorrhage")
    if CLASSES[0] not in calibrations:
        raise UserError("haemorrhage of any kind is not calibrated, so that its prevalence can't be moved")
    return {
        name: _moved(calibration, kind_prevalence(calibrations, name, prevalence))
        for name, calibration in calibrations.items()
    }


def _moved(calibration: ScanCalibration, prevalence: float) -> ScanCalibration:
    shift = logit(prevalence) - logit(calibration.prevalence)
    return replace(
        calibration,
        bias=calibration.bias + shift,
        knots=tuple((score, _shifted(p, shift)) for score, p in calibration.knots),
        site_prevalence=prevalence,
    )


def _shifted(p: float, shift: float) -> float:
    """Exact for 0 and 1, too."""
    return p if math.isclose(p, 0.0) or p >= 1.0 else expit(logit(p) + shift)
