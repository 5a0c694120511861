"""The model card says what the manifest of the bundle says."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CARD = (ROOT / "docs/model-card.md").read_text()
MANIFEST: dict[str, Any] = json.loads((ROOT / "ichd/vision/bundles/phantom-demo/model.json").read_text())


def row(title: str) -> list[str]:
    (line,) = [line for line in CARD.splitlines() if line.startswith(f"| {title} |")]
    return [cell.strip() for cell in line.strip("|").split("|")[1:]]


def test_the_table_of_auc_is_that_of_the_manifest() -> None:
    for title, key in (("AUC a scan", "auc_scan"), ("AUC a slice", "auc_slice")):
        measured = MANIFEST["metrics"][f"held_out_phantoms.{key}"]
        shown = [float(cell.split()[0]) for cell in row(title)]
        assert shown == [round(measured[name], 3) for name in MANIFEST["classes"]]


def test_the_calls_are_those_of_the_manifest() -> None:
    calls = MANIFEST["metrics"]["held_out_phantoms.any_scan_calls"]
    for words, key in (
        ("128, 0.914", "sensitivity_present"),
        ("10, 0.071", "missed_absent"),
        ("90, 0.900", "specificity_not_present"),
    ):
        assert words in CARD
        assert float(words.split()[1]) == round(calls[key], 3)


def test_the_card_is_of_this_bundle() -> None:
    assert MANIFEST["weights"]["sha256"][:12] in CARD
    assert MANIFEST["statement"] in CARD
    assert f"{MANIFEST['metrics']['held_out_phantoms.scans']} held-out phantoms" in CARD
