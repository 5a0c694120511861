"""The chart: Helm renders it, Kubernetes' schemas accept it, and what it writes is what the program reads."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ichd.domain.role import Role
from ichd.settings import load_settings
from tests.deploy.tools import DEPLOY, needed, run

CHART = DEPLOY / "helm" / "ichd"
HOW = ".ci/helm puts it into .tools"
ACCOUNT = {"name": "radiology", "secret": "hash"}
SECRET = {"existing": "ichd"}
#: What sites differ in.
SITES: dict[str, dict[str, Any]] = {
    "bucket": {"secret": SECRET},
    "made-secret": {
        "secret": {"made": {"DATABASE__URL": "postgresql://ichd:word@database/ichd"}},
        "settings": {"web": {"account": [ACCOUNT]}},
    },
    "shared-folder": {"secret": SECRET, "settings": {"spool": {"url": "/var/lib/ichd/spool", "durability": "local"}}},
    "gpus-and-keda": {
        "secret": SECRET,
        "models": {"existingClaim": "bundles"},
        "worker": {
            "gpus": 1,
            "scaler": {"kind": "keda"},
            "nodeSelector": {"gpu": "true"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        },
    },
    "hpa-and-network": {
        "secret": SECRET,
        "worker": {"scaler": {"kind": "hpa"}},
        "networkPolicy": {
            "dicomFrom": ["10.1.0.0/16"],
            "webFrom": [{"matchLabels": {"name": "ingress"}}],
            "to": [{"cidr": "10.2.3.4/32", "port": 104}],
        },
        "settings": {
            "web": {"account": [ACCOUNT]},
            "destination": [{"name": "pacs", "address": "10.2.3.4:104", "ae_title": "PACS"}],
        },
    },
    "bare": {
        "secret": SECRET,
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "migrate": {"enabled": False},
    },
}
KUBERNETES = "1.31"


def render(folder: Path, values: dict[str, Any]) -> list[dict[str, Any]]:
    helm = needed("helm", HOW)
    site = folder / "site.yaml"
    site.write_text(yaml.safe_dump(values))
    text = run([helm, "template", "ichd", CHART, "--namespace", "triage", "-f", site])
    return [document for document in yaml.safe_load_all(text) if document]


def noted(folder: Path, values: dict[str, Any]) -> str:
    """What Helm says to who installs it."""
    helm = needed("helm", HOW)
    site = folder / "site.yaml"
    site.write_text(yaml.safe_dump(values))
    return run([helm, "install", "ichd", CHART, "--dry-run=client", "-f", site]).partition("NOTES:")[2]


def pods(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kinds = {"Deployment", "Job"}
    return [document["spec"]["template"]["spec"] for document in documents if document["kind"] in kinds]


@pytest.fixture(params=SITES)
def documents(request: pytest.FixtureRequest, tmp_path: Path) -> list[dict[str, Any]]:
    return render(tmp_path, SITES[request.param])


def test_kubernetes_accepts_every_document(documents: list[dict[str, Any]], tmp_path: Path) -> None:
    validate = needed("kubernetes-validate", "pip: kubernetes-validate")
    rendered = tmp_path / "rendered.yaml"
    # KEDA's kinds are not Kubernetes' own; nobody here has their schemas.
    known = [document for document in documents if "keda.sh" not in document["apiVersion"]]
    assert known
    rendered.write_text(yaml.safe_dump_all(known))
    run([validate, "--strict", "--kubernetes-version", KUBERNETES, rendered])


def test_pods_keep_to_the_restricted_standard(documents: list[dict[str, Any]]) -> None:
    for pod in pods(documents):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        # Or Kubernetes' ICHD_WEB_PORT is taken for a setting, and every role refuses to start.
        assert pod["enableServiceLinks"] is False
        for container in pod["containers"]:
            context = container["securityContext"]
            assert (context["readOnlyRootFilesystem"], context["allowPrivilegeEscalation"]) == (True, False)
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_the_program_reads_the_settings_that_the_chart_writes(
    documents: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config,) = [document for document in documents if document["kind"] == "ConfigMap"]
    # The account may stand in the site's Secret; it does so here.
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "DATABASE__URL").write_text("postgresql://ichd:word@database/ichd")
    (credentials / "WEB__ACCOUNT").write_text('[{"name": "radiology", "secret": "hash"}]')
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    file = tmp_path / "ichd.toml"
    file.write_text(config["data"]["ichd.toml"])
    settings = load_settings(file)
    assert (settings.dicom.port, settings.web.port) == (11112, 8642)
    assert settings.dicom.host == settings.web.host == "0.0.0.0"  # noqa: S104 - compared, not bound
    assert settings.spool.root.is_relative_to("/var/lib/ichd")
    for pod in pods(documents):
        grace_s = pod.get("terminationGracePeriodSeconds")
        assert grace_s is None or grace_s > settings.worker.grace_s + 20


def test_selectors_meet_pods(documents: list[dict[str, Any]]) -> None:
    labels = [d["spec"]["template"]["metadata"]["labels"] for d in documents if d["kind"] in {"Deployment", "Job"}]
    selectors = [d["spec"]["selector"] for d in documents if d["kind"] == "Service"]
    selectors += [d["spec"]["selector"]["matchLabels"] for d in documents if d["kind"] == "PodDisruptionBudget"]
    selectors += [d["spec"]["podSelector"]["matchLabels"] for d in documents if d["kind"] == "NetworkPolicy"]
    assert selectors
    assert [each for each in selectors if not any(each.items() <= those.items() for those in labels)] == []


def test_scaling_asks_for_readings_alone_and_leaves_the_number_alone(tmp_path: Path) -> None:
    documents = render(tmp_path, SITES["gpus-and-keda"])
    (scaler,) = [document for document in documents if document["kind"] == "ScaledObject"]
    query = scaler["spec"]["triggers"][0]["metadata"]["query"]
    assert "state = 'queued'" in query
    assert "destination IS NULL" in query
    assert scaler["spec"]["minReplicaCount"] >= 1
    (worker,) = [d for d in documents if d["kind"] == "Deployment" and d["metadata"]["name"] == "ichd-worker"]
    assert "replicas" not in worker["spec"]
    assert worker["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"secret": SECRET, "settings": {"spool": {"durability": "local"}}}, "lost with the pod"),
        ({"settings": {"web": {"account": [ACCOUNT]}}}, "secret.existing"),
        ({"secret": {"made": {"DATABASE__URL": "postgresql://database/ichd"}}}, "settings.web.account"),
        ({"secret": SECRET, "worker": {"scalar": {}}}, "scalar"),
        ({"secret": SECRET, "networkPolicy": {"dicomFrom": ["10.1.2.3"]}}, "dicomFrom"),
    ],
    ids=["images-on-a-pods-disk", "no-database", "no-account", "unknown-value", "no-network"],
)
def test_what_can_not_work_is_refused_with_a_reason(tmp_path: Path, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        render(tmp_path, values)


def accounts_in_the_comments() -> list[dict[str, Any]]:
    """Those that values.yaml shows and leaves out."""
    lines = (CHART / "values.yaml").read_text().splitlines()
    shown = [line.strip().removeprefix("#").strip() for line in lines if line.strip().startswith("#  - {name:")]
    return [account for line in shown for account in yaml.safe_load(line)]


def test_the_accounts_that_values_show_are_read_and_one_may_act(tmp_path: Path) -> None:
    documents = render(tmp_path, {"secret": SECRET, "settings": {"web": {"account": accounts_in_the_comments()}}})
    (written,) = [document for document in documents if document["kind"] == "ConfigMap"]
    config = tmp_path / "ichd.toml"
    config.write_text(written["data"]["ichd.toml"])
    accounts = {account.name: account for account in load_settings(config).web.account}
    assert {name: account.role for name, account in accounts.items()} == {
        "radiology": Role.VIEWER,
        "operations": Role.OPERATOR,
        "administration": Role.ADMIN,
        "prometheus": Role.VIEWER,
    }
    assert not any(account.stores for account in accounts.values())


@pytest.mark.parametrize(("role", "warned"), [("viewer", True), (None, True), ("operator", False), ("admin", False)])
def test_a_site_of_viewers_alone_is_told(tmp_path: Path, role: str | None, warned: bool) -> None:
    account = ACCOUNT if role is None else ACCOUNT | {"role": role}
    notes = noted(tmp_path, {"secret": SECRET, "settings": {"web": {"account": [account]}}})
    assert ("nobody can retry a study on a page" in notes) is warned
    assert "ichd doctor" in notes


def test_helm_lints_the_chart() -> None:
    run([needed("helm", HOW), "lint", "--strict", CHART, "--set", "secret.existing=ichd"])


def test_every_value_is_explained() -> None:
    page = (CHART / "README.md").read_text()
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert [name for name in values if f"`{name}" not in page] == []
