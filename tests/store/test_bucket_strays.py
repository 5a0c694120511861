"""A bucket and the rows held against one another."""

from tests.store.bucket_house import Site
from tests.store.house import image


def test_objects_without_a_row_are_shown_and_stay(site: Site) -> None:
    spool = site.spool("a", durability="remote")
    site.keep(spool, image(1))
    forgotten = spool.write([b"of a database that was restored"])
    spool.upload(forgotten)
    assert list(spool.strays()) == [forgotten.sha256]
    assert len(list(site.bucket.objects())) == 2
