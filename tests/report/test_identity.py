"""Derived UIDs: legal, stable, and apart from one another."""

from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from ichd.report.identity import device_uid, object_uid, tracking_uid

uids = st.from_regex(r"1\.[0-9]{1,12}\.[1-9][0-9]{0,12}", fullmatch=True)
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(study=uids, weights=hashes, revision=st.integers(1, 10**6), kind=st.sampled_from(["sr", "sr/series", "ko"]))
def test_an_object_uid_is_legal_and_repeatable(study: str, weights: str, revision: int, kind: str) -> None:
    def draw() -> str:
        return object_uid(study_instance_uid=study, bundle_sha256=weights, revision=revision, kind=kind)

    assert UID(draw()).is_valid
    assert draw().startswith("2.25.")
    assert draw() == draw()


def test_every_part_of_the_identity_counts() -> None:
    base = {"study_instance_uid": "1.2.3", "bundle_sha256": "a" * 64, "revision": 1, "kind": "sr"}
    variants = [
        base,
        base | {"study_instance_uid": "1.2.4"},
        base | {"bundle_sha256": "b" * 64},
        base | {"revision": 2},
        base | {"kind": "sr/series"},
    ]
    assert len({object_uid(**v) for v in variants}) == len(variants)  # type: ignore[arg-type]


def test_tracking_outlives_a_revision_and_tells_kinds_apart() -> None:
    def draw(name: str) -> str:
        return tracking_uid(study_instance_uid="1.2.3", bundle_sha256="a" * 64, class_name=name)

    assert draw("subdural") == draw("subdural") != draw("epidural")


def test_the_identity_of_what_was_ever_sent_is_fixed() -> None:
    # A change here would give every report in every PACS a double.
    assert device_uid() == "2.25.339174413249326156099956108999530551557"
    assert (
        object_uid(study_instance_uid="1.2.3", bundle_sha256="a" * 64, revision=1, kind="sr")
        == "2.25.286705049735321308868569375764382975768"
    )
