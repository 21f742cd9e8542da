"""The files in deploy/ are what their systems take, as far as can be told without them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from zoo_index.commands.main import cli

DEPLOY = Path(__file__).parents[2] / "deploy"


def commands() -> dict[str, list[str]]:
    """Arguments that each file gives to zoo."""
    job = yaml.safe_load((DEPLOY / "cronjob.yaml").read_text())
    container = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    service = re.search(r"^ExecStart=\S*/zoo (.*)$", (DEPLOY / "zoo-refresh.service").read_text(), re.M)
    line = re.search(r"^[\d *]+ \S*/zoo (.*?) >", (DEPLOY / "crontab").read_text(), re.M)
    assert service
    assert line
    assert container["command"][0] == "zoo"
    return {"systemd": service[1].split(), "cron": line[1].split(), "kubernetes": container["command"][1:]}


@pytest.mark.parametrize("system", ["systemd", "cron", "kubernetes"])
def test_their_commands_are_understood(system: str) -> None:
    arguments = commands()[system]
    assert arguments[-2:] != ["--help"]
    told = CliRunner().invoke(cli, [*arguments, "--help"])
    assert told.exit_code == 0, told.output
    assert "Bring the index in line" in told.output
    for option in (argument for argument in arguments if argument.startswith("--")):
        assert option in told.output or option == "--log-json"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
def test_systemd_takes_its_units(tmp_path: Path) -> None:
    for unit in DEPLOY.glob("zoo-refresh.*"):
        text = unit.read_text().replace("/opt/zoo/bin/zoo", "/bin/true")
        (tmp_path / unit.name).write_text(text.replace("User=zoo", f"User={os.environ.get('USER', 'root')}"))
    units = sorted(map(str, tmp_path.glob("zoo-refresh.*")))
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "zoo-refresh" not in done.stderr, done.stderr
    calendar = re.search(r"^OnCalendar=(.*)$", (DEPLOY / "zoo-refresh.timer").read_text(), re.M)
    assert calendar
    subprocess.run(["systemd-analyze", "calendar", calendar[1]], capture_output=True, check=True)


def test_cron_runs_its_line_and_tells_only_what_is_wrong(tmp_path: Path) -> None:
    (line,) = re.findall(r"^(?:\S+ ){5}(/.*)$", (DEPLOY / "crontab").read_text(), re.M)
    assert "%" not in line  # cron takes it for the end of the line
    zoo = tmp_path / "zoo"
    line = line.replace("/opt/zoo/bin/zoo", str(zoo)).replace("/var/lib/zoo/", f"{tmp_path}/")
    for status, told in ((0, ""), (75, ""), (3, "what is wrong\n")):
        zoo.write_text(f"#!/bin/sh\necho '{{}}'\necho what is wrong >&2\nexit {status}\n")
        zoo.chmod(0o755)
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == (told, "")
        assert (tmp_path / "last-refresh.json").read_text() == "{}\n"  # also after one that was refused


def test_the_job_is_what_a_cluster_takes() -> None:
    job: dict[str, Any] = yaml.safe_load((DEPLOY / "cronjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    spec = job["spec"]
    assert len(spec["schedule"].split()) == 5
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["startingDeadlineSeconds"] >= 10
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # a failure policy asks for it
    (rule,) = spec["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["containerName"] == pod["containers"][0]["name"]
    assert rule["onExitCodes"]["values"] == sorted(rule["onExitCodes"]["values"])
