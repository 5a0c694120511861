"""Which series of a study is learnt from: the one that the daemon would read.

Headers decide (`ichd.domain.selection`); pixels are not looked at, so that to index stays cheap. docs/series-choice.md
has the rules.
"""

from collections.abc import Iterable, Iterator, Mapping

import polars as pl

from ichd.domain.finding import CLASSES
from ichd.domain.refusal import Refusal, SelectionPolicy
from ichd.domain.selection import Candidate, ranking_of, select_series
from ichd.domain.study import InstanceFacts, SeriesFacts, StudyFacts
from training.cases.facts import facts_from_text
from training.cases.leaving import leave_out

#: By path, why an image is not read; those without an entry are.
Unread = Mapping[str, str]


def one_series_a_study(images: pl.DataFrame) -> pl.DataFrame:
    """`images` with all but one stack of each study left out, each with the reason that the daemon would give.

    Of several stacks that could be read the best one with a labelled image is chosen (column `any` not null), so that
    labels of another series than the daemon's favourite are not lost.
    """
    rows = images.filter(pl.col("left_out").is_null()).select("study_id", "path", "facts", known=_known())
    reasons: dict[str, str] = {}
    for _, study in rows.sort("study_id", "path").group_by("study_id", maintain_order=True):
        reasons |= _unread(study)
    table = pl.DataFrame(
        {"path": list(reasons), "reason": list(reasons.values())}, schema={"path": pl.String, "reason": pl.String}
    )
    joined = images.join(table, on="path", how="left", maintain_order="left")
    return leave_out(joined, pl.col("reason").is_not_null(), pl.col("reason")).drop("reason")


def _known() -> pl.Expr:
    return pl.any_horizontal(pl.col(name).is_not_null() for name in CLASSES)


def _unread(study: pl.DataFrame) -> Unread:
    """One study."""
    facts = [facts_from_text(text) for text in study["facts"]]
    # An image is known by its identifier: those that stand there twice were left out before.
    path_of = dict(zip((f.sop_instance_uid for f in facts), study["path"].to_list(), strict=True))
    labelled = {f.sop_instance_uid for f, known in zip(facts, study["known"].to_list(), strict=True) if known}
    selection = select_series(_study_of(facts), SelectionPolicy(), pixels_to_come=False)
    candidates = [*selection.candidates, *selection.refused]
    chosen = next((c for c in selection.candidates if labelled.intersection(_uids(c))), None)
    refusals = {(line.series_instance_uid, line.stack): line.refusal for line in ranking_of(chosen, candidates)}
    unread = dict.fromkeys(path_of.values(), "another image of its series is read in its place")
    for candidate in candidates:
        refusal = refusals[candidate.stack.series_instance_uid, candidate.stack.number]
        for uid in _uids(candidate):
            if candidate is chosen:
                del unread[path_of[uid]]
            else:
                unread[path_of[uid]] = _in_words(refusal)
    return unread


def _uids(candidate: Candidate) -> Iterator[str]:
    return (image.sop_instance_uid for image in candidate.stack.instances)


def _study_of(facts: Iterable[InstanceFacts]) -> StudyFacts:
    series: dict[str, list[InstanceFacts]] = {}
    for image in facts:
        series.setdefault(image.series_instance_uid, []).append(image)
    return StudyFacts(
        study_instance_uid="",
        series=tuple(
            SeriesFacts(series_instance_uid=uid, instances=tuple(images)) for uid, images in sorted(series.items())
        ),
    )


def _in_words(refusal: Refusal | None) -> str:
    if refusal is None:
        return "no image of its series is labelled"
    words = f"series not read, {refusal.reason.value.replace('_', ' ')}"
    return f"{words}: {refusal.detail}" if refusal.detail else words
