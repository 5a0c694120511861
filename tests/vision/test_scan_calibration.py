"""The manifest's entry: there where it says something, and nowhere else."""

import json

import pytest
from pydantic import ValidationError

from ichd.domain.scan_calibration import ScanCalibration
from ichd.vision.bundle import demo_bundle
from ichd.vision.manifest import Manifest, ScanCalibrationSpec, read_manifest

SPEC = ScanCalibrationSpec(growth=0.4, scale=1.2, bias=-0.5, scans=400, patients=380, prevalence=0.35)


#: Of the demonstration bundle, since before scans were calibrated: reports that name it must go on naming it.
DEMO_SHA256 = "fb43ce93ca6f1cf3ff9dff4e96f7684b167464ccfe1de24e3a534484051333b8"


def with_entry(**by_class: object) -> Manifest:
    content = json.loads(read_manifest(demo_bundle()).to_json()) | {"scan_calibration": by_class}
    return Manifest.model_validate_json(json.dumps(content))


def test_a_bundle_of_before_keeps_its_words_and_its_hash() -> None:
    manifest = read_manifest(demo_bundle())
    assert manifest.identity.bundle_sha256 == DEMO_SHA256
    assert "scan_calibration" not in manifest.to_json()
    assert manifest.rule.scan_calibrations == {}


def test_there_and_back() -> None:
    knotted = SPEC.model_copy(update={"knots": ((-1.0, 0.2), (1.5, 0.8)), "site_prevalence": 0.05})
    manifest = with_entry(any=SPEC.model_dump(), subdural=knotted.model_dump())
    again = Manifest.model_validate_json(manifest.to_json())
    assert again == manifest
    assert again.rule.scan_calibrations["subdural"] == ScanCalibration(
        growth=0.4, scale=1.2, bias=-0.5, knots=((-1.0, 0.2), (1.5, 0.8)), scans=400, patients=380, prevalence=0.35,
        site_prevalence=0.05,
    )  # fmt: skip
    assert again.identity.bundle_sha256 != read_manifest(demo_bundle()).identity.bundle_sha256


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"scale": 0.0}, "scale"),
        ({"growth": -0.1}, "growth"),
        ({"knots": ((0.0, 0.5), (0.0, 0.6))}, "ascending"),
        ({"knots": ((0.0, 0.5), (1.0, 0.4))}, "never fall"),
        ({"slices": 30}, "slices"),
    ],
)
def test_what_would_turn_scans_round_is_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        with_entry(any=SPEC.model_dump() | change)


def test_any_is_calibrated_where_anything_is() -> None:
    with pytest.raises(ValidationError, match="decides triage"):
        with_entry(subdural=SPEC.model_dump())
