from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from capacity.cli import app
from capacity.errors import CapacityError
from capacity.simulation.command import BOUNDS
from capacity.simulation.defaults import DEFAULT
from servekit.models import catalogue

CHARTS = Path(__file__).parents[4] / "charts"


def simulate(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["simulate", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_a_table_and_a_picture(tmp_path, suffix):
    picture = tmp_path / f"out.{suffix}"
    options = ("--service", "ocr", "--hours", "0.1", "--pods", "1", "--picture", str(picture))
    output = simulate("--trace", "steady", *options)
    for row in ("offered-load 0.7", "cpu 0.7", "busy 0.7", "queue 0.5", "fixed "):
        assert row in output
    assert 10_000 < picture.stat().st_size < 300_000
    if suffix == "svg":
        first = picture.read_bytes()
        simulate("--trace", "steady", *options)
        assert picture.read_bytes() == first  # the same seed, the same picture


def test_one_policy_with_a_target_on_a_trace_of_ones_own(tmp_path):
    file = tmp_path / "own.csv"
    file.write_text("seconds,rate\n0,1\n60,3\n240,0\n")
    output = simulate("--trace", str(file), "--service", "embed", "--policy", "offered-load", "--target", "0.5")
    assert "own, embed" in output
    assert "offered-load 0.5" in output
    assert "cpu" not in output


def test_a_profile_whose_calls_take_what_anothers_do_has_its_curves():
    options = ("--policy", "offered-load", "--trace", "steady", "--hours", "0.05", "--pods", "1")
    rows = [simulate("--curves", profile, *options).splitlines()[1:] for profile in ("gpu", "gpu-vllm")]
    assert rows[0] == rows[1]


def test_many_calls_are_simulated_as_fewer():
    assert "one simulated request represents" in simulate(
        "--curves", "gpu", "--service", "embed", "--hours", "0.05", "--pods", "1", "--policy", "offered-load"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--trace", "wave"), "unknown trace 'wave'"),
        (("--service", "video"), "unknown service 'video' in the curves of 'embedded'; known services: ocr, "),
        (("--curves", "tpu"), "--curves: unknown profile 'tpu'; known profiles: embedded, gpu, gpu-vllm"),
        (("--policy", "hope"), "unknown policy 'hope'; known policies: offered-load, "),
        *(
            ((option, value), rf"{option} must be in \[0.001, ")
            for option in BOUNDS
            for value in ("-1", "1e-308", "nan", "inf")
        ),
        (("--pods", "0"), r"--pods must be in \[0.001, 10000\], got 0"),
        (("--hours", "1000"), r"--hours must be in \[0.001, 48\], got 1000"),
        (("--hours", "48", "--pods", "5000"), "too many to simulate"),
        (("--picture", "out.gif"), r"must end in \.svg, \.png, \.pdf"),
        (("--picture", "no/such/folder/out.svg"), "in an existing folder"),
    ],
)
def test_what_cannot_be_done_is_said(arguments, message):
    with pytest.raises(CapacityError, match=message):
        simulate(*arguments)


@pytest.mark.parametrize("service", catalogue.profile("fake").services)
def test_what_is_simulated_by_default_is_what_the_chart_sets(service):
    found = yaml.safe_load((CHARTS / "service/values.yaml").read_text())["autoscaling"]
    own = yaml.safe_load((CHARTS / "polyphony/values.yaml").read_text())[service].get("autoscaling", {})
    behavior = found["behavior"] | own.get("behavior", {})
    default = DEFAULT
    assert own.get("targetUtilization", found["targetUtilization"]) == default.share
    for rules, row in ((default.behavior.up, behavior["scaleUp"]), (default.behavior.down, behavior["scaleDown"])):
        assert row["stabilizationWindowSeconds"] == rules.stabilization_seconds
        assert row.get("selectPolicy", "Max") == rules.select
        policies = [(policy["type"], policy["value"], policy["periodSeconds"]) for policy in row["policies"]]
        assert policies == [(policy.kind, policy.value, policy.period_seconds) for policy in rules.policies]
