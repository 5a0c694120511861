"""The short report on a study that no model read: that, and why.

It is a Measurement Report too (TID 1500), with Qualitative Evaluations and no measurements, which the template allows:
so a PACS and a viewer that know our reports know this one, in each of the three SOP classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom import Dataset

from ichd.domain.delivery import ObjectKind
from ichd.domain.reason import Reason
from ichd.report import codes
from ichd.report.content import root, skipped_series
from ichd.report.document import ReportContext
from ichd.report.equipment import plain
from ichd.report.identity import Edition
from ichd.report.items import code_item, container, text_item
from ichd.report.source import legible, source_of
from ichd.report.sr import structured_report

NOT_ANALYSED = "Not analysed by AI: this report says nothing about haemorrhage."


@dataclass(frozen=True, kw_only=True)
class Unread:
    """Why a study was not read; the series that were passed over are the context's."""

    study_instance_uid: str
    reason: Reason
    #: The numbers behind the reason, for people; no value of the patient's.
    detail: str = ""


def build_unread(
    unread: Unread, sources: Sequence[Dataset], context: ReportContext, kind: ObjectKind = ObjectKind.SR
) -> Dataset:
    """The short report; `sources` are headers of whatever is stored of the study, as for `build_report`.

    Raises:
        Permanent: REPORT_INVALID, no source of this study.
    """
    source = legible(source_of(sources, unread.study_instance_uid))
    # The study may hold anything, so the procedure is the broadest that images sent to us can be of.
    tree = root(codes.CT, context, [container(codes.QUALITATIVE_EVALUATIONS, _evaluations(unread, context))])
    return structured_report(
        tree,
        kind=kind,
        edition=Edition(study_instance_uid=unread.study_instance_uid, revision=context.revision),
        context=context,
        source=source,
        model=None,
    )


def _evaluations(unread: Unread, context: ReportContext) -> Iterator[Dataset]:
    detail = f" ({unread.detail})" if unread.detail else ""
    yield code_item(codes.ANALYSIS, codes.NOT_ANALYSED)
    yield code_item(codes.REASON, codes.reason_code(unread.reason))
    yield code_item(codes.STATUS, codes.RESEARCH)
    yield text_item(codes.COMMENT, NOT_ANALYSED)
    yield text_item(codes.COMMENT, plain(f"{unread.reason.meaning}{detail}"))
    yield from skipped_series(context)
