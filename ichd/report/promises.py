"""What our reports say beyond what TID 1500 asks for, as rows like the template's.

The template is extensible, and most of its rows are optional: a report that says nothing would pass it.
"""

from collections.abc import Sequence

from pydicom.sr.coding import Code

from ichd.report import codes
from ichd.report.items import Relationship
from ichd.report.template_rows import Requirement, Row, row

_OURS = "ichd"
_CONTAINS, _MODIFIES = Relationship.CONTAINS, Relationship.HAS_CONCEPT_MOD
_OBSERVES, _ACQUIRES = Relationship.HAS_OBS_CONTEXT, Relationship.HAS_ACQ_CONTEXT


def _must(
    value_type: str,
    relationship: Relationship,
    name: Code | None,
    *,
    values: Sequence[Code] = (),
    most: int | None = 1,
    rows: tuple[Row, ...] = (),
) -> Row:
    return row(_OURS, value_type, relationship, name, Requirement.M, values=values, most=most, rows=rows)


def _ours(*rows: Row) -> Row:
    return Row(
        template=_OURS,
        value_type="CONTAINER",
        relationship=None,
        names=(codes.IMAGING_MEASUREMENT_REPORT,),
        requirement=Requirement.M,
        rows=(_must("CODE", _OBSERVES, codes.OBSERVER_TYPE, values=(codes.DEVICE,)), *rows),
    )


_STATUS = _must("CODE", _CONTAINS, codes.STATUS, values=(codes.DEMONSTRATION, codes.RESEARCH))

#: What a report of ours on a finding says beyond what the template asks for.
FINDING_REPORT = _ours(
    _must(
        "CONTAINER", _CONTAINS, codes.IMAGE_LIBRARY,
        rows=(
            _must(
                "CONTAINER", _CONTAINS, codes.IMAGE_LIBRARY_GROUP,
                rows=(
                    _must("CODE", _ACQUIRES, codes.MODALITY, values=(codes.COMPUTED_TOMOGRAPHY,)),
                    _must("CODE", _ACQUIRES, codes.TARGET_REGION, values=(codes.HEAD,)),
                ),
            ),
        ),
    ),
    _must(
        "CONTAINER", _CONTAINS, codes.IMAGING_MEASUREMENTS,
        rows=(
            Row(
                template=_OURS,
                value_type="CONTAINER",
                relationship=_CONTAINS,
                names=(codes.MEASUREMENT_GROUP,),
                requirement=Requirement.M,
                least=len(codes.FINDING_TYPE),
                most=len(codes.FINDING_TYPE),
                distinct_by=codes.FINDING,
                rows=(
                    _must("CODE", _CONTAINS, codes.FINDING, values=tuple(codes.FINDING_TYPE.values())),
                    _must("CODE", _MODIFIES, codes.SITE, values=(codes.HEAD, codes.BRAIN)),
                    _must("TEXT", _MODIFIES, codes.ALGORITHM_NAME),
                    _must("TEXT", _MODIFIES, codes.ALGORITHM_PARAMETERS, most=None),
                    _must("CODE", _MODIFIES, codes.ALGORITHM_FAMILY, values=(codes.ARTIFICIAL_INTELLIGENCE,)),
                    _must("NUM", _CONTAINS, codes.PROBABILITY, values=(codes.PERCENT,), most=None),
                    _must("CODE", _CONTAINS, codes.PRESENCE, values=tuple(codes.PRESENCE_VALUE.values())),
                ),
            ),
        ),
    ),
    _must(
        "CONTAINER", _CONTAINS, codes.QUALITATIVE_EVALUATIONS,
        rows=(
            _must("CODE", _CONTAINS, codes.TRIAGE, values=tuple(codes.TRIAGE_VALUE.values())),
            _STATUS,
            _must("TEXT", _CONTAINS, codes.COMMENT, most=None),
            _must("TEXT", _CONTAINS, codes.CALIBRATION),
        ),
    ),
)  # fmt: skip

#: What a report of ours on a study that was not read says.
UNREAD_REPORT = _ours(
    _must(
        "CONTAINER", _CONTAINS, codes.QUALITATIVE_EVALUATIONS,
        rows=(
            _must("CODE", _CONTAINS, codes.ANALYSIS, values=(codes.NOT_ANALYSED,)),
            _must("CODE", _CONTAINS, codes.REASON),
            _STATUS,
            _must("TEXT", _CONTAINS, codes.COMMENT, most=None),
        ),
    ),
)  # fmt: skip
