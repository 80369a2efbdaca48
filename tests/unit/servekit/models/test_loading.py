"""Models of a process: checked before they are loaded, found by any of their names."""

import pytest

from servekit.models import loading as models
from servekit.models.catalogue import ModelSpec, models_of
from servekit.models.loading import Models
from servekit.ops.settings import ProcessSettings
from servekit.ops.telemetry import Telemetry
from servekit.rpc.errors import FailedPrecondition, NotFound


class Scheduler:
    """As much of a scheduler as a name needs."""

    def __init__(self, name, *aliases):
        self.spec = ModelSpec(
            id=name, task="embed", service="retrieval", runtime="t", title="t", licence="CC0-1.0", memory_mb=1,
            aliases=aliases,
        )  # fmt: skip


def test_an_empty_name_is_the_first_and_an_alias_is_its_model():
    first, second = Scheduler("a"), Scheduler("b", "b-1")
    schedulers = Models([first, second])
    assert (schedulers.get(""), schedulers.get("b"), schedulers.get("b-1")) == (first, second, second)
    assert list(schedulers) == [first, second]


def test_an_unknown_name_is_not_found_and_the_field_named():
    for schedulers in (Models([Scheduler("a")]), Models([])):
        with pytest.raises(NotFound) as caught:
            schedulers.get("gpt-9", field="engine")
        assert caught.value.field == "engine"
    with pytest.raises(NotFound, match="there is none"):
        Models([]).get("")


def test_missing_weights_are_named_with_what_to_do(tmp_path):
    settings = ProcessSettings(home=tmp_path, profile="embedded")
    telemetry = Telemetry(settings)
    with pytest.raises(FailedPrecondition, match=r"polyphony models pull pp-ocrv6-small"):
        models.specs(settings, "vision", telemetry)
    assert telemetry.registry.get_sample_value("polyphony_model_ready", {"model": "pp-ocrv6-small"}) == 0


def test_weights_that_are_there_are_enough(tmp_path):
    settings = ProcessSettings(home=tmp_path, profile="embedded")
    for spec in models.models_of("embedded", "vision"):
        for file in spec.files:
            path = spec.folder(settings.models_dir) / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    assert [spec.id for spec in models.specs(settings, "vision", Telemetry(settings))] == ["pp-ocrv6-small"]


def test_models_that_need_more_memory_than_is_allowed_are_refused(tmp_path):
    settings = ProcessSettings(home=tmp_path, profile="fake", max_model_memory_mb=1)
    needed = sum(spec.memory_mb for spec in models_of("fake", "speech"))
    with pytest.raises(FailedPrecondition, match=f"need {needed} MiB together, the limit is 1 MiB"):
        models.specs(settings, "speech", Telemetry(settings))
    assert models.specs(settings.model_copy(update={"max_model_memory_mb": needed}), "speech", Telemetry(settings))


def test_options_of_the_process_override_those_of_the_spec(tmp_path):
    settings = ProcessSettings(home=tmp_path, profile="fake", model_options={"fail": "ENGINE_GONE"})
    (spec,) = models.specs(settings, "vision", Telemetry(settings))
    assert spec.options["fail"] == "ENGINE_GONE"
    assert spec.options["latency_seconds"] == 0.0


async def test_a_loader_is_imported_by_name_and_an_unknown_one_refused():
    spec, settings = Scheduler("a").spec, ProcessSettings()
    telemetry = Telemetry(settings)
    assert await models.load(spec, settings, {"t": "operator:is_not"}, telemetry) is True
    assert telemetry.registry.get_sample_value("polyphony_model_load_duration_seconds", {"model": "a"}) > 0
    with pytest.raises(FailedPrecondition, match="wants the loader 't'"):
        await models.load(spec, settings, {"other": "operator:is_not"}, telemetry)
