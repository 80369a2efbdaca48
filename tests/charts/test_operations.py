"""The commands of docs/how-to/operations.md are valid for the chart, for `polyphony` and for the Makefile."""

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import helm_python as helm
import pytest
import typer
from typer.core import TyperGroup

from charts import render
from fleet.cli.main import app

ROOT = render.CHARTS.parent
PAGE = (ROOT / "docs/how-to/operations.md").read_text()
RELEASE = "polyphony"
# What the operator makes and the chart reads.
SECRETS = {"polyphony-s3", "polyphony-database", "polyphony-api-keys"}
ELSEWHERE = {"aws", "head", "openssl", "pg_dump", "printf", "tr"}
KINDS = {"deployment": "Deployment", "service": "Service", "hpa": "HorizontalPodAutoscaler"}


def commands() -> Iterator[list[str]]:
    """Every command of the page, in words, without variables before it and files behind it."""
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL):
        for line in block.splitlines():
            for part in re.sub(r" [<>] \S+", "", line).split(" | "):
                yield list(itertools.dropwhile(lambda word: "=" in word, shlex.split(part)))


ALL = list(commands())


def by(program: str) -> list[list[str]]:
    return [words for words in ALL if words[0] == program]


def options(words: list[str], name: str) -> list[str]:
    return [value for option, value in itertools.pairwise(words) if option == name]


@pytest.fixture(scope="module")
def objects(deployments) -> set[str]:
    """Kind and name of everything that some deployment makes."""
    return {f"{m['kind']}/{m['metadata']['name']}" for made in deployments.values() for m in made.manifests}


def test_every_program_is_known():
    assert {words[0] for words in ALL} == {"helm", "kubectl", "make", "polyphony"} | ELSEWHERE


@pytest.mark.parametrize(
    "words", [w for w in by("helm") if "--set" in w or "--set-json" in w or "--values" in w], ids=" ".join
)
def test_the_chart_takes_the_values(words):
    assert words[2:4] == [RELEASE, "charts/polyphony"]
    files = [helm.values_from_yaml((ROOT / name).read_text()) for name in options(words, "--values")]
    said = [helm.parse_set_string(text) for text in options(words, "--set")]
    said += [helm.parse_set_json(text) for text in options(words, "--set-json")]
    # An upgrade is of what was installed: the page's trial.
    below = [] if files else [render.values("embedded")]
    with_them = list(render.manifests(render.merged(*below, *files, *said)))
    if said:
        assert with_them != list(render.manifests(render.merged(*below, *files))), "the values change nothing"


@pytest.mark.parametrize("words", by("kubectl"), ids=" ".join)
def test_what_kubectl_names_is_there(words, objects):
    for word in words:
        if match := re.fullmatch(r"(deployment|service|hpa)/([a-z-]+)", word):
            assert f"{KINDS[match[1]]}/{match[2]}" in objects
    if words[1:3] == ["describe", "hpa"]:
        assert f"HorizontalPodAutoscaler/{words[3]}" in objects
    if "secret" in words:
        name = words[words.index("generic") + 1]
        assert name in SECRETS
        assert name in Path(render.UMBRELLA / "values-gpu.yaml").read_text()
    if "postgres" in words:  # a pod of the trial's Postgres is its cluster's name and a number
        pod = next(word for word in words if word.startswith(f"{RELEASE}-postgres"))
        assert f"Cluster/{pod.removesuffix('-1')}" in objects


def test_ports_are_those_of_the_service(deployments):
    (forward,) = [words for words in by("kubectl") if "port-forward" in words]
    service = deployments["embedded"].one("Service", "gateway-http")
    assert int(forward[-1].partition(":")[2]) in {port["port"] for port in service["spec"]["ports"]}


@pytest.mark.parametrize("words", by("polyphony"), ids=" ".join)
def test_polyphony_takes_the_options(words):
    command, rest = typer.main.get_command(app), words[1:]
    while isinstance(command, TyperGroup):
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context(words[1], rest)  # raises what the user would be told


@pytest.mark.parametrize("words", by("make"), ids=" ".join)
def test_make_has_the_targets(words):
    for word in words[1:]:
        variable, given, _ = word.partition("=")
        if not word.startswith("-"):
            assert re.search(rf"^{variable}{' .?=' if given else ':'}", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_its_pages_are_there():
    for name in re.findall(r"\]\(([\w./-]+\.md)\)", PAGE):
        assert (ROOT / "docs/how-to" / name).is_file(), name
