"""The commands of docs/how-to/runbook.md are valid for kubectl and helm, and name objects that the charts create."""

import itertools
import os
import re
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import typer
import yaml
from typer.core import TyperGroup

from charts import render
from dashboards.rules.rule import RUNBOOK
from evaluation import canary_set, gauges
from evaluation.replay import CanaryResult
from evaluation.tasks import tasks
from fleet.cli.main import app
from gateway.settings import GatewaySettings
from tests.operations.queries import ROOT
from tests.pushgateway import PUSHGATEWAY, pushgateway

PAGE = (ROOT / "docs" / RUNBOOK).read_text()
SCRIPT = re.compile(r"```sh\n(.*?)```", re.DOTALL)
CODE = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", SCRIPT.sub("", PAGE))]
PLACES = {
    "<service>": "vision",
    "<pod>": "polyphony-vision-0",
    "<name>": "a",
    "<node>": "n",
    "<job>": "j",
    "<model>": "m",
}
KINDS = {
    "deployment": "Deployment",
    "hpa": "HorizontalPodAutoscaler",
    "scaledobject": "ScaledObject",
    "cronjob": "CronJob",
    "secret": "Secret",
}


def commands(program: str) -> list[list[str]]:
    """Every command of a program, in words, without what its output goes through."""
    filled = [re.sub("<[a-z]+>", lambda place: PLACES[place[0]], code) for code in CODE if code.startswith(program)]
    return [shlex.split(re.split(r" [|>] ", code)[0]) for code in filled if " " in code]


@pytest.fixture(scope="module")
def made() -> list[dict]:
    """All that some deployment makes: one scales by HPA, one by KEDA and asks the canary."""
    by_keda = {"canary": {"enabled": True}, "vision": {"autoscaling": {"type": "keda"}}}
    layers = (render.values("gpu"), render.merged(render.values("embedded"), by_keda))
    return [manifest for layer in layers for _, manifest in render.manifests(layer)]


def test_what_kubectl_selects_has_the_label(made):
    kinds: dict[str, set[str]] = {}
    for manifest in made:
        component = manifest["metadata"].get("labels", {}).get("app.kubernetes.io/component", "")
        kinds.setdefault(component, set()).add(manifest["kind"])
    for component in ("gateway", "vision", "speech", "generation", "retrieval"):
        assert kinds[component] & {"Deployment", "StatefulSet"}
    assert {"HorizontalPodAutoscaler", "ScaledObject"} <= kinds["vision"]
    assert "CronJob" in kinds["canary"]


def test_what_kubectl_names_is_made_by_the_charts(made):
    objects = {f"{manifest['kind']}/{manifest['metadata']['name']}" for manifest in made}
    named = {match.groups() for words in commands("kubectl") for word in words if (match := _named(word))}
    pairs = {pair for words in commands("kubectl") for pair in itertools.pairwise(words)}
    named |= {(kind, name) for kind, name in pairs if kind in KINDS and name.startswith("polyphony")}
    assert {kind for kind, _ in named} == KINDS.keys() - {"deployment"}  # which some have as a StatefulSet
    assert {f"{KINDS[kind]}/{name}" for kind, name in named} <= objects


def _named(word: str) -> re.Match[str] | None:
    return re.fullmatch(rf"({'|'.join(KINDS)})/(polyphony[a-z-]*)", word)


@pytest.mark.skipif(not shutil.which("kubectl"), reason="absent: apt-get install kubernetes-client")
def test_kubectl_takes_every_command():
    def refusal(words: list[str]) -> str:
        nowhere = ["--server", "http://127.0.0.1:1", "--request-timeout", "1s"]
        command, environment = [words[0], *nowhere, *words[1:]], os.environ | {"KUBECONFIG": os.devnull}
        said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60).stderr
        return "" if "127.0.0.1:1" in said else f"{shlex.join(words)}: {said}"

    asked = [words for words in commands("kubectl") if words[1] != "config"]  # that one asks no server
    assert len(asked) > 40
    with ThreadPoolExecutor(4) as pool:
        assert [said for said in pool.map(refusal, asked) if said] == []


@pytest.mark.skipif(
    not (PUSHGATEWAY and shutil.which("curl")), reason="absent: apt-get install prometheus-pushgateway curl"
)
def test_what_the_canary_pushed_is_taken_away():
    (script,) = SCRIPT.findall(PAGE)
    _, loop = script.split("&\n", 1)  # without the way into a cluster
    with pushgateway() as address:
        gauges.push(
            [CanaryResult(task.name, {"accuracy": 1.0}, 1, (), (), 0.1) for task in tasks(canary_set.read())], address
        )
        assert "polyphony_" in httpx.get(f"http://{address}/metrics").text
        subprocess.run(["bash", "-c", loop.replace("127.0.0.1:9091", address)], check=True, timeout=60)
        assert "polyphony_" not in httpx.get(f"http://{address}/metrics").text


def test_helm_is_asked_what_it_can():
    assert {tuple(words[1:]) for words in commands("helm ")} <= {
        ("history", "polyphony"),
        ("rollback", "polyphony"),
        ("get", "values", "polyphony"),
        ("upgrade",),
    }


def test_polyphony_has_the_commands():
    command = typer.main.get_command(app)
    assert isinstance(command, TyperGroup)
    assert {words[1] for words in commands("polyphony ")} <= command.commands.keys()


def test_what_is_set_can_be_set():
    for code in CODE:
        if code.startswith("POLYPHONY_"):
            field = code.removeprefix("POLYPHONY_").removeprefix("GATEWAY_").lower()
            assert field in GatewaySettings.model_fields
        if match := re.fullmatch(r"(?:<service>|canary)\.(\w+)(?:\.(\w+))?", code):
            files = (render.SERVICE, render.UMBRELLA) if code.startswith("<") else (render.UMBRELLA,)
            values = render.merged(*(yaml.safe_load((path / "values.yaml").read_text()) for path in files))
            within = values if code.startswith("<") else values["canary"]
            for key in filter(None, match.groups()):
                within = within[key]


def test_what_the_log_is_searched_for_is_written_to_it():
    source = (ROOT / "servekit" / "scheduling" / "engines.py").read_text()
    assert 'crashed: %s"' in source
    assert "did not restart" in source
    assert "no answer within" in (ROOT / "gateway" / "http" / "endpoint.py").read_text()


def test_alerts_that_it_refers_to_have_their_paragraph():
    headings = set(re.findall(r"^## (\w+)$", PAGE, re.MULTILINE))
    assert set(re.findall(r"Polyphony[A-Z]\w+", PAGE)) == headings
