"""Loading a process's models by the rows of its task table: what is checked, built, skipped and reported."""

import sys
from types import SimpleNamespace
from typing import Protocol, runtime_checkable

import numpy as np
import pytest

from servekit.errors import FailedPrecondition, NotFound, Unimplemented
from servekit.models.backend import TensorSpec
from servekit.models.backends.fake import FakeBackend
from servekit.ops.settings import ProcessSettings
from servekit.ops.telemetry import Telemetry
from servekit.scheduling.batch import BatchScheduler
from servekit.scheduling.step import StepScheduler
from servekit.scheduling.stream import StreamScheduler
from servekit.tasks.loading import load_models
from servekit.tasks.task import BatchConfig, StepConfig, StreamConfig, TaskSpec

ROW = (
    'title = "t"\ntask = "{task}"\nservices = ["vision"]\nruntime = "fake"\nlicence = "CC0-1.0"\nmemory_mb = {memory}\n'
)


class Settings(ProcessSettings):
    process = "vision"


@runtime_checkable
class Port(Protocol):
    def answer(self) -> int: ...


class Answerer:
    def __init__(self, spec):
        self.spec = spec
        self.closed = 0
        self.networks = {
            name: FakeBackend([TensorSpec("x", np.dtype(np.float32), (-1, 2))], []) for name in ("", "head")
        }

    def answer(self):
        return 42

    def warm(self):
        """Always warm."""

    def close(self):
        self.closed += 1


@pytest.fixture
def runtime(monkeypatch):
    """The module of the runtime `fake`; tests change its `load`."""
    module = SimpleNamespace(load=lambda spec, settings: Answerer(spec), loads=[])
    monkeypatch.setitem(sys.modules, "answering", module)
    return module


@pytest.fixture
def settings(tmp_path):
    """`settings(a=100, b=200, memory_mb=…)`: a profile of models of task `answer` that need so many MiB."""

    def build(memory_mb=0, model_options=None, task="answer", **models):
        for kind in ("models", "profiles"):
            (tmp_path / kind).mkdir(exist_ok=True)
        for name, memory in models.items():
            (tmp_path / "models" / f"{name}.toml").write_text(ROW.format(task=task, memory=memory))
        listed = ", ".join(f'"{name}"' for name in models)
        (tmp_path / "profiles" / "ours.toml").write_text(f'title = "t"\n[services.vision]\nmodels = [{listed}]\n')
        return Settings(
            home=tmp_path,
            catalogue=tmp_path,
            profile="ours",
            max_model_memory_mb=memory_mb,
            model_options=model_options or {},
        )

    return build


def task(name="answer", **fields):
    batch = BatchConfig(cost_unit="answers", max_batch_cost=1, max_queue_cost=1)
    return TaskSpec(**{"name": name, "port": Port, "runtimes": {"fake": "answering:load"}, "scheduler": batch} | fields)


def metric(telemetry, name, model):
    return telemetry.registry.get_sample_value(f"polyphony_{name}", {"model": model})


async def test_a_table_becomes_schedulers_by_task_and_name(runtime, settings):
    chosen, telemetry = settings(a=1, b=1), Telemetry(ProcessSettings())
    models = await load_models([task(), task("other")], chosen, telemetry)
    assert [metric(telemetry, "model_ready", name) for name in "ab"] == [0, 0]
    await models.start(telemetry)
    answerers = list(models["answer"])
    assert [type(scheduler) for scheduler in answerers] == [BatchScheduler] * 2
    assert (models["answer"].get(), models["answer"].get("b")) == tuple(answerers)
    assert not list(models["other"])
    assert [metric(telemetry, "model_ready", name) for name in "ab"] == [1, 1]
    assert metric(telemetry, "model_load_duration_seconds", "a") > 0
    await models.close()
    assert [scheduler.model.closed for scheduler in answerers] == [1, 1]
    with pytest.raises(KeyError):
        models["none"]


async def test_a_row_may_choose_its_scheduler_by_the_model_or_have_none(runtime, settings):
    telemetry = Telemetry(ProcessSettings())
    stream = StreamConfig(cost_unit="answers", max_queue_cost=1, slots=3)
    models = await load_models(
        [task(scheduler=lambda model: stream if model.answer() else None)], settings(a=1), telemetry
    )
    assert isinstance(models["answer"].get(), StreamScheduler)
    assert models["answer"].get().engines == 3
    step = StepConfig(cost_unit="steps", max_batch_cost=4, max_queue_cost=8)
    models = await load_models([task(scheduler=step)], settings(a=1), telemetry)
    assert isinstance(models["answer"].get(), StepScheduler)
    models = await load_models([task(scheduler=None)], settings(a=1), telemetry)
    assert not models.ready
    await models.start(telemetry)
    assert models.ready
    assert metric(telemetry, "model_ready", "a") == 1
    assert models["answer"].get().model.answer() == 42


async def test_networks_are_exposed_only_where_the_row_says_so(runtime, settings):
    for threads, names in ((0, ["a"]), (2, ["a", "a-head"])):
        models = await load_models([task(network_threads=threads)], settings(a=1), Telemetry(ProcessSettings()))
        assert list(models.readiness()) == names
    async with models.acquire("a-head") as head:
        assert (head.spec.id, head.engines) == ("a-head", 2)
    async with models.acquire("a") as whole:  # the network named "" stands for the model
        assert whole.spec.id == "a-network"
    with pytest.raises(NotFound, match="available: a, a-head"):
        async with models.acquire("b"):
            pass


async def test_options_of_the_process_override_those_of_the_spec(runtime, settings):
    models = await load_models([task()], settings(a=1, model_options={"fail": "X"}), Telemetry(ProcessSettings()))
    assert models["answer"].get().model.spec.options == {"fail": "X"}


async def test_a_model_that_does_not_run_here_is_skipped_only_where_the_row_says_so(runtime, settings):
    def refuse(spec, settings):
        if spec.id == "a":
            raise Unimplemented("not on this machine")
        return Answerer(spec)

    runtime.load = refuse
    telemetry = Telemetry(ProcessSettings())
    with pytest.raises(Unimplemented):
        await load_models([task()], settings(a=1, b=1), telemetry)
    models = await load_models([task(skip_unimplemented=True)], settings(a=1, b=1), telemetry)
    assert [scheduler.spec.id for scheduler in models["answer"]] == ["b"]
    assert metric(telemetry, "model_ready", "a") is None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"name": "other"}, "the task of a must be one of other, which vision does, got 'answer'"),
        ({"runtimes": {"real": "answering:load"}}, "the runtime of a must be one of real, got 'fake'"),
        ({"runtimes": {"fake": "operator:is_"}}, "does not implement Port"),
    ],
)
async def test_what_does_not_fit_the_table_is_refused(runtime, settings, row, message):
    with pytest.raises(FailedPrecondition, match=message):
        await load_models([task(**row)], settings(a=1), Telemetry(ProcessSettings()))


async def test_models_that_need_more_memory_than_is_allowed_are_refused_before_any_is_loaded(runtime, settings):
    runtime.load = None
    with pytest.raises(FailedPrecondition, match="the models of vision must fit in 299 MiB together, got 300 MiB"):
        await load_models([task()], settings(a=100, b=200, memory_mb=299), Telemetry(ProcessSettings()))
    with pytest.raises(FailedPrecondition, match="must fit in 199 MiB together, got 200 MiB"):
        await load_models([task(load="first_use")], settings(a=100, b=200, memory_mb=199), Telemetry(ProcessSettings()))
    await load_models([task(load="first_use")], settings(a=100, b=200, memory_mb=200), Telemetry(ProcessSettings()))


@pytest.mark.parametrize("load", ["start", "first_use"])
async def test_missing_weights_are_named_with_what_to_do(tmp_path, load):
    settings = Settings(home=tmp_path, profile="embedded")
    with pytest.raises(FailedPrecondition, match=r"polyphony models pull pp-ocrv6-small"):
        await load_models([task("read_text", load=load)], settings, Telemetry(settings))
