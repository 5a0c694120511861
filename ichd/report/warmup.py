"""The first report of a process costs half a second more than the others; this pays it before a study waits."""

from datetime import UTC, datetime

from pydicom import Dataset

from ichd.domain.finding import CLASSES, ModelIdentity, Prediction, ReadingRule, SlicePrediction, conclude
from ichd.domain.study import CT_IMAGE_STORAGE
from ichd.report.document import ReportContext
from ichd.report.sr import build_report

_UID = "2.25.1"


def warm_up() -> None:
    """Build a report about nothing and drop it: highdicom then has read its tables of the standard."""
    nothing = SlicePrediction(
        sop_instance_uid=_UID, sop_class_uid=CT_IMAGE_STORAGE, z_mm=0.0, probabilities=(0.0,) * len(CLASSES)
    )
    prediction = Prediction(
        study_instance_uid=_UID,
        series_instance_uid=_UID,
        model=ModelIdentity(name="none", version="0", weights_sha256="0" * 64, bundle_sha256="0" * 64),
        slices=(nothing,),
    )
    source = Dataset()
    source.StudyInstanceUID = _UID
    context = ReportContext(revision=1, created_at=datetime(2000, 1, 1, tzinfo=UTC), software_version="0")
    build_report(conclude(prediction, ReadingRule()), [source], context)
