"""The speech service on its fakes, over real gRPC, with the `settings` of the tests that ask for it."""

import pytest

from services.speech.records import open_records
from services.speech.service import build
from services.speech.tasks import tasks
from tests.stubs import SpeechStub


@pytest.fixture
def models():
    """The fakes that serve, by task, once `stub` is there."""
    return {}


@pytest.fixture
def records():
    """The records of the service that `stub` calls."""
    return open_records("memory:", 1)


@pytest.fixture
async def stub(serve, dial, settings, models, records, monkeypatch):
    """Calls the service."""
    monkeypatch.setattr("services.speech.service.open_records", lambda *_: records)

    async def build_and_show(settings, telemetry):
        service_spec = await build(settings, telemetry)
        models.update(
            {task.name: scheduler.model for task in tasks(settings) for scheduler in service_spec.models[task.name]}
        )
        return service_spec

    return SpeechStub(dial(await serve(settings, build_and_show), "polyphony.speech.v1.TranscriptionService"))
