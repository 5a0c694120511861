"""Promotion and rollback: one pointer, copies that are whole, and never another model in silence."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ichd.app.model import check_model
from ichd.app.promoted import (
    Pointer,
    clear_refusal,
    in_force,
    model_trouble,
    note_refusal,
    pointer_path,
    read_pointer,
    sign_of,
)
from ichd.app.promotion import Change, promote, roll_back, shelved, verdict
from ichd.domain.errors import UserError
from ichd.settings import ModelSettings
from ichd.vision.bundle import WEIGHTS_NAME, demo_bundle
from ichd.vision.manifest import MANIFEST_NAME, read_manifest

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def model(tmp_path: Path) -> ModelSettings:
    return ModelSettings(promoted=str(tmp_path / "models"))


@pytest.fixture
def version(tmp_path: Path) -> Callable[[str], Path]:
    """Makes the demonstration model's next version: other words, the same weights."""

    def make(number: str) -> Path:
        folder = tmp_path / f"run-{number}"
        folder.mkdir()
        manifest = read_manifest(demo_bundle()).model_copy(update={"version": number})
        (folder / MANIFEST_NAME).write_text(manifest.to_json())
        (folder / WEIGHTS_NAME).write_bytes((demo_bundle() / WEIGHTS_NAME).read_bytes())
        return folder

    return make


def put(model: ModelSettings, bundle: Path) -> Change:
    return promote(
        model,
        bundle,
        how="without_gate",
        gate={"reason": "a trial"},
        expected=read_pointer(model),
        by="ada",
        now=NOW,
    )


def test_without_a_promotion_the_setting_decides(model: ModelSettings) -> None:
    found = in_force(model)
    assert (found.folder, found.pointer, found.source) == (demo_bundle(), None, "from model.bundle")
    assert check_model(model).version == "1"


def test_a_promoted_bundle_is_a_copy_and_in_force(model: ModelSettings, version: Callable[[str], Path]) -> None:
    before = sign_of(model)
    change = put(model, version("2"))

    assert check_model(model).version == "2"
    assert sign_of(model) != before
    assert in_force(model).folder.parent == Path(model.promoted)
    assert "by ada" in in_force(model).source
    assert (change.before.version, change.model.version) == ("1", "2")
    record = json.loads((in_force(model).folder / "promotion.json").read_text())
    assert (record["how"], record["gate"]) == ("without_gate", {"reason": "a trial"})
    assert not [path for path in Path(model.promoted).rglob("*") if "partial" in path.name]


def test_a_rollback_goes_back_and_undoes_itself(model: ModelSettings, version: Callable[[str], Path]) -> None:
    put(model, version("2"))
    put(model, version("3"))

    assert [roll_back(model, by="ada", now=NOW).model.version for _ in range(3)] == ["2", "3", "2"]
    assert check_model(model).version == "2"


def test_the_first_model_can_be_rolled_back_to_when_its_folder_is_gone(
    model: ModelSettings, version: Callable[[str], Path]
) -> None:
    first = version("1-site")
    model = model.model_copy(update={"bundle": str(first)})
    put(model, version("2"))
    (first / MANIFEST_NAME).unlink()

    assert roll_back(model, by="ada", now=NOW).model.version == "1-site"
    assert check_model(model).version == "1-site"


def test_whoever_edits_the_setting_afterwards_means_it(model: ModelSettings, version: Callable[[str], Path]) -> None:
    put(model, version("2"))
    edited = model.model_copy(update={"bundle": str(version("9"))})

    assert check_model(edited).version == "9"
    assert "the setting wins" in in_force(edited).source
    with pytest.raises(UserError, match=r"set it back to 'phantom-demo'"):
        roll_back(edited, by="ada", now=NOW)
    put(edited, version("10"))
    assert check_model(edited).version == "10"


def test_what_is_in_force_is_not_promoted_again(model: ModelSettings, version: Callable[[str], Path]) -> None:
    put(model, version("2"))
    with pytest.raises(UserError, match="in force already"):
        put(model, in_force(model).folder)


def test_figures_that_were_made_against_another_model_promote_nothing(
    model: ModelSettings, version: Callable[[str], Path]
) -> None:
    put(model, version("2"))
    with pytest.raises(UserError, match="somebody else changed the model"):
        promote(model, version("3"), how="gate", gate={}, expected=None, by="bob", now=NOW)
    assert check_model(model).version == "2"


def test_a_damaged_bundle_is_not_promoted(model: ModelSettings, version: Callable[[str], Path]) -> None:
    broken = version("2")
    (broken / WEIGHTS_NAME).write_bytes(b"short")
    with pytest.raises(UserError, match="changed or damaged"):
        put(model, broken)
    assert read_pointer(model) is None


def cut_the_pointer(model: ModelSettings) -> None:
    pointer_path(model).write_text(pointer_path(model).read_text()[:40])


def lose_the_folder(model: ModelSettings) -> None:
    in_force(model).folder.rename(Path(model.promoted) / "elsewhere")


def change_the_weights(model: ModelSettings) -> None:
    (in_force(model).folder / WEIGHTS_NAME).write_bytes(b"other")


def change_the_manifest(model: ModelSettings) -> None:
    path = in_force(model).folder / MANIFEST_NAME
    path.write_text(path.read_text().replace('"version": "2"', '"version": "7"'))


@pytest.mark.parametrize("damage", [cut_the_pointer, lose_the_folder, change_the_weights, change_the_manifest])
def test_damage_is_named_and_no_other_model_steps_in(
    model: ModelSettings, version: Callable[[str], Path], damage: Callable[[ModelSettings], None]
) -> None:
    two = version("2")
    put(model, two)
    damage(model)

    with pytest.raises(UserError, match="`ichd model promote"):
        check_model(model)
    # The mend that the message names.
    promote(model, two, how="without_gate", gate={"reason": "mended"}, expected=_found(model), by="ada", now=NOW)
    assert check_model(model).version == "2"


def _found(model: ModelSettings) -> Pointer | None:
    try:
        return read_pointer(model)
    except UserError:
        return None


def test_a_machine_that_could_not_load_it_is_named_until_the_model_changes(
    model: ModelSettings, version: Callable[[str], Path]
) -> None:
    put(model, version("2"))
    assert model_trouble(model) is None
    note_refusal(model, in_force(model).folder.name, "out of memory", now=NOW)
    assert "could not load it and reads with the model before it: out of memory" in (model_trouble(model) or "")
    put(model, version("3"))
    assert model_trouble(model) is None
    note_refusal(model, in_force(model).folder.name, "out of memory", now=NOW + timedelta(hours=1))
    clear_refusal(model)
    assert model_trouble(model) is None


def test_the_list_says_what_is_in_force_and_what_may_be(model: ModelSettings, version: Callable[[str], Path]) -> None:
    put(model, version("2"))
    put(model, version("3"))
    lines = {(line.identity.version, line.state) for line in shelved(model) if line.identity}
    assert lines == {("3", "in force"), ("2", "before it"), ("1", "promoted earlier"), ("1", "shipped")}


def test_the_gate_in_a_few_words() -> None:
    assert verdict({"reason": "a trial"}) == "none, because a trial"
    assert verdict({"passed": True, "reference": "40 phantoms", "margin": 0.01}) == (
        "passed on 40 phantoms, margin 0.01"
    )
