"""Prometheus accepts what we ship."""

import subprocess
from pathlib import Path

import yaml

from farsight.local.programs import program
from tests.deploy.observability import RULES, panel_queries
from tests.deploy.rendering import of_kind, render


def promtool(*arguments: str) -> str:
    """Output of promtool, which must succeed."""
    done = subprocess.run(
        [program("promtool"), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_configuration_and_rules_are_valid() -> None:
    """`promtool check config` reads the scrape configuration and the rules it names."""
    output = promtool("check", "config", str(RULES.with_name("prometheus.yml")))

    assert "1 rule files found" in output


def test_rules_fire_when_they_should() -> None:
    """`promtool test rules` runs the unit tests of the alerts."""
    promtool("test", "rules", str(RULES.with_name("rules_test.yml")))


def test_dashboard_queries_are_valid(tmp_path: Path) -> None:
    """Each query of the dashboard is PromQL."""
    rules = [
        {"record": f"panel:{i}", "expr": query.replace("$__rate_interval", "5m")}
        for i, query in enumerate(panel_queries().values())
    ]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))

    assert f"{len(rules)} rules found" in promtool("check", "rules", str(file))


def test_scrape_targets_are_services_of_the_manifests() -> None:
    """The names that Prometheus resolves are headless Services with that port, ready or not."""
    config = yaml.safe_load(RULES.with_name("prometheus.yml").read_text())
    services = of_kind(render("overlays/example"), "Service")
    (discovery,) = config["scrape_configs"][0]["dns_sd_configs"]

    for name in discovery["names"]:
        port, _, service, namespace = name.split(".")[:4]
        spec = services[service]["spec"]
        assert spec["clusterIP"] == "None"
        assert spec["publishNotReadyAddresses"] is True
        assert [f"_{p['name']}" for p in spec["ports"]] == [port]
        assert services[service]["metadata"]["namespace"] == namespace
