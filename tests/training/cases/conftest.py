"""A small copy of the RSNA layout with all its faults, and its index."""

from pathlib import Path

import pytest

from training.cases.index import Index
from training.cases.rsna import index_rsna
from training.layouts.rsna import write_rsna_layout

STUDIES = 12
SEED = 4


@pytest.fixture(scope="session")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("layouts") / "rsna"
    write_rsna_layout(out, studies=STUDIES, seed=SEED, rows=64, slices=(10, 12))
    return out


@pytest.fixture(scope="session")
def index(layout: Path) -> Index:
    return index_rsna(layout)
