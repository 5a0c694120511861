"""Alert rules and dashboard: Prometheus understands them, and they ask for what there is."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.metrics import asked_for, documented, unknown
from tests.deploy.tools import DEPLOY, DOCS, ROOT, headings_of, needed, run

FOLDER = DEPLOY / "prometheus"
RULES = FOLDER / "ichd.rules.yml"
DASHBOARD = DEPLOY / "grafana" / "ichd.json"
DEBIAN = "Debian: prometheus"


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def test_prometheus_understands_the_rules() -> None:
    run([needed("promtool", DEBIAN), "check", "rules", RULES])


def test_alerts_sound_when_they_must_and_only_then() -> None:
    run([needed("promtool", DEBIAN), "test", "rules", FOLDER / "ichd.rules.test.yml"])


def test_prometheus_understands_the_scrape_job(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    config = (FOLDER / "scrape.yml").read_text().replace("/etc/prometheus/ichd.token", str(token))
    (tmp_path / "prometheus.yml").write_text(config)
    (tmp_path / RULES.name).write_text(RULES.read_text())
    run([needed("promtool", DEBIAN), "check", "config", tmp_path / "prometheus.yml"])
    # The rule that notices its absence knows the job by name.
    assert yaml.safe_load(config)["scrape_configs"][0]["job_name"] == "ichd"


def test_every_alert_is_tested() -> None:
    tests = (FOLDER / "ichd.rules.test.yml").read_text()
    assert [each["alert"] for each in alerts() if each["alert"] not in tests] == []


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_says_what_is_wrong_and_how_to_mend_it(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook"}
    assert len(alert["annotations"]["description"]) > 60
    page, _, section = alert["annotations"]["runbook"].partition("#")
    assert page == "docs/operations.md"
    assert section
    if (ROOT / page).exists():
        assert section in headings_of(ROOT / page)


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_two_pages_wake_nobody_twice(alert: dict[str, Any]) -> None:
    """Every metric of ours is aggregated, so that no alert carries the label of the replica that was asked."""
    for name in asked_for(alert["expr"]):
        before = alert["expr"].partition(name)[0]
        assert any(word in before for word in ("max(", "max by", "min by")), name


def test_alerts_ask_for_metrics_that_there_are() -> None:
    if not (DOCS / "metrics.md").exists():
        pytest.skip("docs/metrics.md is not written yet")
    known = documented()
    assert {alert["alert"]: names for alert in alerts() if (names := unknown(alert["expr"], known))} == {}


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    if not (DOCS / "metrics.md").exists():
        pytest.skip("docs/metrics.md is not written yet")
    known = documented()
    asked = {panel["title"]: [each["expr"] for each in panel["targets"]] for panel in panels()}
    assert {title: names for title, exprs in asked.items() if (names := unknown(" ".join(exprs), known))} == {}


def test_every_panel_has_a_title_a_unit_and_a_word_of_explanation() -> None:
    seen = [panel["title"] for panel in panels()]
    assert len(seen) == len(set(seen)) > 20
    for panel in panels():
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert len(panel["description"]) > 10, panel["title"]
        assert all(target["expr"] for target in panel["targets"])


def test_the_dashboard_can_be_imported_anywhere() -> None:
    """Nothing in it names the data source of whoever drew it: a variable asks for one."""
    dashboard = json.loads(DASHBOARD.read_text())
    assert dashboard["id"] is None
    assert [variable["type"] for variable in dashboard["templating"]["list"]] == ["datasource"]
    for panel in panels():
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert {source["uid"] for source in sources} == {"${datasource}"}
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


def test_panels_lie_beside_one_another_and_never_over_one_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_prometheus_understands_the_expressions_of_the_dashboard(tmp_path: Path) -> None:
    promtool = needed("promtool", DEBIAN)
    expressions = [target["expr"] for panel in panels() for target in panel["targets"]]
    rules = [{"record": f"panel:expression:{number}", "expr": each} for number, each in enumerate(expressions)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    run([promtool, "check", "rules", tmp_path / "rules.yml"])


def test_yaml_is_tidy() -> None:
    run([needed("yamllint", "pip: yamllint"), "--strict", "-c", DEPLOY / ".yamllint.yml", DEPLOY])
