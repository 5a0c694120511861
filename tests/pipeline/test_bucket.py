"""A study that one machine took is read, explained and reported by another, out of a bucket."""

from pathlib import Path

import pytest

from ichd.domain.refusal import SelectionPolicy
from ichd.intake.header import read_facts
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.pipeline.analyse import analyse
from ichd.pipeline.desk import read_source
from ichd.pipeline.heat import LastSeen
from ichd.pipeline.reading import ReadingPolicy
from ichd.store.bucket_spool import BucketSpool
from ichd.store.embeddings import Embeddings
from ichd.vision.reader import Reader
from tests.peers.s3 import overwrite
from tests.pipeline.delivering import tell
from tests.store.bucket_house import Site, local_files

POLICY = ReadingPolicy(selection=SelectionPolicy(), require_head=True)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    recipe = PhantomRecipe(seed=5, slices=14, rows=128, voxel_mm=2.0, bleeds=("subdural",))
    return write_series(render(recipe), tmp_path_factory.mktemp("head"))


def read_on(site: Site, spool: BucketSpool, reader: Reader) -> dict[str, object]:
    """The study's record, once a machine has read it."""
    house = site.on(spool)
    (study_uid,) = house.close()
    analyse(
        house.claim(),
        studies=house.studies,
        reader=reader,
        embeddings=Embeddings(spool, reader.engine.fingerprint),
        last_seen=LastSeen(),
        policy=POLICY,
        destinations=tell("PACS"),
        clock=lambda: house.now,
    )
    site.house.now = house.now
    record = house.studies.detail(study_uid).record
    assert record is not None
    return dict(record)


def test_another_machine_reads_and_reports_what_one_took(
    site: Site,
    reader: Reader,
    head: list[Path],
) -> None:
    taker, worker, courier = site.spool("a"), site.spool("b"), site.spool("c")
    for path in head:
        site.keep(taker, read_facts(path), path.read_bytes())
    assert site.upload(taker) == len(head)
    record = read_on(site, worker, reader)
    assert record["scan"] is not None
    assert len(local_files(worker)) == len(head)
    house = site.on(courier)
    images = house.deliveries.begin(house.claim(), now=house.now).images()
    source = read_source(images.files, (), images.bring)
    assert source.StudyInstanceUID == record["study_uid"]
    assert len(local_files(courier)) == 1


def test_an_object_with_a_flipped_bit_is_never_read(site: Site, reader: Reader, head: list[Path]) -> None:
    taker, worker = site.spool("a", durability="remote"), site.spool("b")
    for path in head:
        site.keep(taker, read_facts(path), path.read_bytes())
    content = bytearray(head[6].read_bytes())
    content[-30] ^= 2
    overwrite(site.bucket, site.first(read_facts(head[6])), bytes(content))
    record = read_on(site, worker, reader)
    assert (record["reason"], record["scan"]) == ("file_damaged", None)
