"""Derived UIDs: legal, stable, and apart from one another."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from ichd.domain.delivery import ObjectKind
from ichd.report.identity import Edition, device_uid, tracking_uid

uids = st.from_regex(r"1\.[0-9]{1,12}\.[1-9][0-9]{0,12}", fullmatch=True)
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(study=uids, weights=hashes, revision=st.integers(1, 10**6), kind=st.sampled_from(ObjectKind))
def test_an_object_uid_is_legal_and_repeatable(study: str, weights: str, revision: int, kind: ObjectKind) -> None:
    def draw() -> str:
        return Edition(study_instance_uid=study, bundle_sha256=weights, revision=revision).uid(kind)

    assert UID(draw()).is_valid
    assert draw().startswith("2.25.")
    assert draw() == draw()


def test_every_part_of_the_identity_counts() -> None:
    base = Edition(study_instance_uid="1.2.3", bundle_sha256="a" * 64, revision=1)
    others = [
        dataclasses.replace(base, study_instance_uid="1.2.4"),
        dataclasses.replace(base, bundle_sha256="b" * 64),
        dataclasses.replace(base, bundle_sha256=""),
        dataclasses.replace(base, revision=2),
    ]
    drawn = [
        *(edition.uid(kind) for edition in (base, *others) for kind in ObjectKind),
        *(edition.series_uid(kind) for edition in (base, *others) for kind in ObjectKind),
        *(base.uid(ObjectKind.HEAT, number) for number in range(2, 30)),
    ]
    assert len(set(drawn)) == len(drawn)


def test_tracking_outlives_a_revision_and_tells_kinds_apart() -> None:
    def draw(name: str) -> str:
        return tracking_uid(study_instance_uid="1.2.3", bundle_sha256="a" * 64, class_name=name)

    assert draw("subdural") == draw("subdural") != draw("epidural")


def test_the_identity_of_what_was_ever_sent_is_fixed() -> None:
    # A change here would give every report in every PACS a double.
    assert device_uid() == "2.25.339174413249326156099956108999530551557"
    assert (
        Edition(study_instance_uid="1.2.3", bundle_sha256="a" * 64, revision=1).uid("sr")
        == "2.25.286705049735321308868569375764382975768"
    )
