"""The files of deploy/ agree with the service: figures, labels, settings, keys, times; and with each other."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from service.api import health, metrics, reconstructions
from service.keys import Scope
from service.settings import PREFIX, Settings
from service.telemetry import Instruments

DEPLOY = Path(__file__).parent.parent / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "clearslice.json").read_text(encoding="utf-8"))
ALERTS = yaml.safe_load((DEPLOY / "alerts.yml").read_text(encoding="utf-8"))
PROMETHEUS = yaml.safe_load((DEPLOY / "prometheus.yml").read_text(encoding="utf-8"))

SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
OF_PROMETHEUS = {"le", "instance", "job"}
"""Labels that no instrument names: of histograms, and those that Prometheus adds."""


def expressions():
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for rule in ALERTS["groups"][0]["rules"]:
        yield rule["alert"], rule["expr"]


EXPRESSIONS = list(expressions())


@pytest.fixture(scope="module")
def figures():
    """Name of each sample -> the labels that it may have."""
    instruments = Instruments()
    labels = {
        f"{metric._name}{suffix}": set(metric._labelnames)
        for metric in vars(instruments).values()
        if hasattr(metric, "_labelnames")
        for suffix in SUFFIXES[metric._type]
    }
    of_process = {sample.name for family in instruments.registry.collect() for sample in family.samples}
    return labels | {name: set() for name in of_process if name.startswith("process_")}


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS])
def test_a_panel_or_alert_asks_for_figures_and_labels_that_exist(where, expression, figures):
    plain = re.sub(r'"[^"]*"', '""', expression)
    names = re.findall(r"\b(?:clearslice|process)_\w+", plain)
    assert names or plain.startswith("up{"), where
    known = set(OF_PROMETHEUS)
    for name in names:
        assert name in figures, where
        known |= figures[name]
    grouped = {label.strip() for group in re.findall(r"\bby \(([^)]*)\)", plain) for label in group.split(",")}
    selected = set(re.findall(r"(\w+)\s*[=!]~?\s*\"", plain))
    assert grouped | selected <= known, where


def test_routes_and_labels_of_the_dashboard_are_those_of_the_service(figures):
    paths = {route.path for module in (health, metrics, reconstructions) for route in module.router.routes}
    asked = {route for _, expression in EXPRESSIONS for route in re.findall(r'route="([^"]*)"', expression)}
    assert asked == {"/v1/reconstructions"}
    assert asked | {"/metrics", "/v2/health/live", "/v2/health/ready"} <= paths
    legends = [target["legendFormat"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    labels = {label for text in legends for label in re.findall(r"{{(\w+)}}", text)}
    assert labels <= OF_PROMETHEUS | set().union(*figures.values())


def test_every_figure_of_the_service_is_on_the_dashboard(figures):
    shown = " ".join(expression for _, expression in EXPRESSIONS)
    mentioned = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"clearslice_\w+", shown)}
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in figures if name.startswith("clearslice_")}
    assert mentioned == ours


def test_panels_do_not_overlap_and_have_a_place_each():
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_variables_of_the_compose_file_are_settings(monkeypatch):
    environment = SERVICES["clearslice"]["environment"]
    names = [name for name in environment if name.startswith(PREFIX)]
    assert names
    for name, value in environment.items():
        assert name.removeprefix(PREFIX).partition("__")[0].lower() in Settings.model_fields
        monkeypatch.setenv(name, value)
    settings = Settings()  # and the values are possible
    assert settings.api_keys_file == Path("/run/secrets/api-keys")


def test_variables_of_the_dockerfile_are_settings():
    text = (DEPLOY.parent / "Dockerfile").read_text(encoding="utf-8")
    names = re.findall(rf"\b{PREFIX}([A-Z_]+)=", text)
    assert set(names) == {"HOST", "PORT", "STORE"}
    assert {name.lower() for name in names} <= set(Settings.model_fields)


def test_a_container_is_killed_only_after_its_requests_had_their_time():
    service = SERVICES["clearslice"]
    drain = int(service["environment"]["CLEARSLICE_DRAIN_SECONDS"])
    assert drain > Settings().request_timeout
    assert int(service["stop_grace_period"].removesuffix("s")) > drain


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_confined(name):
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["ulimits"]["core"] == 0
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert not service.get("privileged")
    # the entry point of Orthanc's image writes its configuration to its root
    assert service.get("read_only") is (None if name == "orthanc" else True)
    image = service["image"]
    assert re.search(r":v?\d+\.\d+\.\d+$", image) or image == "${CLEARSLICE_IMAGE:-clearslice:cpu}"


def test_secrets_and_files_are_where_they_are_looked_for():
    for name, service in SERVICES.items():
        assert set(service["secrets"]) <= set(COMPOSE["secrets"]), name
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert (DEPLOY / source).exists() if source.startswith("./") else source in COMPOSE["volumes"], volume
    (job,) = PROMETHEUS["scrape_configs"]
    key = Path(job["authorization"]["credentials_file"])
    assert key.parent == Path("/run/secrets")
    assert key.name in SERVICES["prometheus"]["secrets"]
    assert job["static_configs"] == [{"targets": ["clearslice:8000"]}]
    readme = (DEPLOY / "README.md").read_text(encoding="utf-8")
    assert all(f"secrets/{name}" in readme for name in COMPOSE["secrets"])
    assert all(f"--scope {scope}" in readme for scope in (Scope.READ, Scope.RECONSTRUCT))


def test_grafana_finds_its_data_and_its_dashboard():
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {source["uid"]}
    (provider,) = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/clearslice.yaml").read_text())["providers"]
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"])
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]


def test_orthanc_asks_for_passwords_and_stores_from_nobody_unknown():
    configuration = json.loads((DEPLOY / "orthanc.json").read_text(encoding="utf-8"))
    assert configuration["AuthenticationEnabled"] is True
    assert configuration["DicomAlwaysAllowStore"] is False
    assert "RegisteredUsers" not in configuration  # a secret


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not here")
@pytest.mark.parametrize("arguments", [("config", "--syntax-only", "prometheus.yml"), ("rules", "alerts.yml")])
def test_prometheus_itself_accepts_the_files(arguments):
    done = subprocess.run(["promtool", "check", *arguments], cwd=DEPLOY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "SUCCESS" in done.stdout


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not here")
def test_alerts_fire_when_they_should(tmp_path):
    """Prometheus' own simulator: a value a minute, read `start+step x times`; `_` is no value."""
    on = {"instance": "ct", "job": "clearslice"}
    requests = 'clearslice_requests_total{instance="ct",job="clearslice",method="POST",route="/v1/reconstructions"'
    series = {
        'up{instance="ct",job="clearslice"}': "1x10 0x10",
        'clearslice_ready{instance="ct",job="clearslice"}': "1x4 0x20",
        requests + ',status="200"}': "0+9x40",
        requests + ',status="500"}': "_x19 1x20",  # the first defect ever, in minute 20
        'clearslice_shed_total{instance="ct",job="clearslice",place="queue"}': "0+60x40",
        'clearslice_expired_total{instance="ct",job="clearslice"}': "0x40",
    }
    route = {"instance": "ct", "route": "/v1/reconstructions"}
    expected = {
        ("ClearsliceDown", 10): [],
        ("ClearsliceDown", 14): [on],
        ("ClearsliceNotReady", 8): [],
        ("ClearsliceNotReady", 12): [on],
        ("ClearsliceDefects", 18): [],
        ("ClearsliceDefects", 21): [route],
        ("ClearsliceShedding", 5): [],
        ("ClearsliceShedding", 20): [{"instance": "ct", "place": "queue"}],
        ("ClearsliceDeadlines", 30): [],
        ("ClearsliceKeysStale", 30): [],
    }
    rules = {rule["alert"]: rule for rule in ALERTS["groups"][0]["rules"]}
    tests = [
        {
            "eval_time": f"{minute}m",
            "alertname": name,
            "exp_alerts": [
                {"exp_labels": labels, "exp_annotations": {"summary": _filled(rules[name], labels)}}
                for labels in alerts
            ],
        }
        for (name, minute), alerts in expected.items()
    ]
    simulation = {
        "rule_files": [str(DEPLOY / "alerts.yml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": tests,
            }
        ],
    }
    (tmp_path / "alerts.test.yml").write_text(yaml.safe_dump(simulation))
    command = ["promtool", "test", "rules", str(tmp_path / "alerts.test.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _filled(rule, labels):
    return re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], rule["annotations"]["summary"])


@pytest.mark.peer
@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose (Debian) is not here")
def test_compose_itself_accepts_the_file(tmp_path):
    # Debian's docker-compose is older than the attribute `name`, which newer ones read
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8").replace("name: clearslice\n", "", 1)
    (tmp_path / "compose.yaml").write_text(text)
    done = subprocess.run(
        ["docker-compose", "-f", str(tmp_path / "compose.yaml"), "config", "--quiet"],
        env={**os.environ, "COMPOSE_PROJECT_NAME": "clearslice"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_image_is_built_from_what_it_needs_and_nothing_else():
    lines = (DEPLOY.parent / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    kept = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert not kept & {"tests", "docs", "bench", "runs", "deploy", ".git"}
    assert all((DEPLOY.parent / name).exists() for name in kept)
