"""A bundle says what it has learnt from, and nothing that its recipe was only written for."""

from training.recipe import load_recipe
from training.words import words_of


def facts(**source: object) -> dict[str, object]:
    return {"kind": "packed", "train_studies": 12, "data_sha256": "ab12", "index": {"source": source}}


def test_the_rsna_data_are_called_so() -> None:
    words = words_of(load_recipe("resnet50"), facts(layout="rsna", synthetic=False))
    assert words.training_data.startswith("RSNA 2019")
    assert "12 studies, data sha256 ab12" in words.training_data
    assert not words.demonstration


def test_a_sites_own_cases_are_not_called_rsna() -> None:
    words = words_of(load_recipe("resnet50"), facts(layout="folder", synthetic=False))
    assert "RSNA" not in words.training_data
    assert "site's own" in words.training_data


def test_synthetic_data_in_the_layout_of_rsna_make_a_demonstration() -> None:
    words = words_of(load_recipe("resnet50"), facts(layout="rsna", synthetic=True))
    assert words.demonstration
    assert words.statement == "trained on synthetic data: demonstration only"
    assert "RSNA" not in words.training_data
