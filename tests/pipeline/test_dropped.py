"""Series whose images were dropped: no torso is read, and what was said of the head before stands."""

from dataclasses import replace
from pathlib import Path

from ichd.domain.reason import Reason
from ichd.domain.refusal import SelectionPolicy
from ichd.domain.selection import skipped_by
from ichd.domain.study import InstanceFacts, SeriesFacts, StudyFacts
from ichd.pipeline.choice import Choice, unfold
from ichd.pipeline.reading import why_unread
from tests.store.house import STUDY, image

HEAD = [image(number) for number in range(1, 33)]
OTHER = [image(number, series=f"{STUDY}.2") for number in range(1, 33)]


def choice(images: list[InstanceFacts], here: list[InstanceFacts]) -> Choice:
    uids = dict.fromkeys(i.series_instance_uid for i in images)
    series = tuple(
        SeriesFacts(series_instance_uid=uid, instances=tuple(i for i in images if i.series_instance_uid == uid))
        for uid in uids
    )
    # None of them is ever opened: who tried would find no file.
    files = {i.sop_instance_uid: Path("/nowhere") / i.sop_instance_uid for i in here}
    study = StudyFacts(study_instance_uid=STUDY, series=series)
    return Choice(unfold(study, files), files, SelectionPolicy(), head_only=False)


def test_a_head_that_is_not_all_here_is_not_read() -> None:
    for here in ([], HEAD[:1], HEAD[:-1]):
        decided = choice(HEAD, here)
        assert decided.settle() is None
        reason, detail = why_unread(skipped_by(decided.ranking))
        assert (reason, detail) == (Reason.IMAGES_DROPPED, f"{32 - len(here)} of 32 images")


def test_another_series_that_is_whole_may_be_read() -> None:
    decided = choice([*HEAD, *OTHER], OTHER)
    refusals = {c.stack.series_instance_uid: c.refusal for c in decided.candidates}
    assert refusals[OTHER[0].series_instance_uid] is None
    dropped = refusals[HEAD[0].series_instance_uid]
    assert dropped is not None
    assert dropped.reason is Reason.IMAGES_DROPPED


def test_a_rule_that_its_headers_break_is_named_before_its_absence() -> None:
    scout = [replace(image(1, series=f"{STUDY}.9"), image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))]
    decided = choice(scout, [])
    assert decided.settle() is None
    assert why_unread(skipped_by(decided.ranking))[0] is Reason.LOCALIZER


def test_a_head_that_must_be_sent_again_outweighs_what_is_no_head() -> None:
    scout = [replace(image(1, series=f"{STUDY}.9"), image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))]
    decided = choice([*scout, *HEAD], scout)
    assert decided.settle() is None
    assert why_unread(skipped_by(decided.ranking))[0] is Reason.IMAGES_DROPPED


def test_a_multi_frame_image_that_is_gone_is_not_unfolded() -> None:
    decided = choice([replace(image(1), number_of_frames=32)], [])
    assert decided.settle() is None
    assert why_unread(skipped_by(decided.ranking))[0] is Reason.IMAGES_DROPPED
