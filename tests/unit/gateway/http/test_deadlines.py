"""The deadlines of the HTTP interface, most of which are those of the contract."""

import pytest

from gateway.app import OPERATIONS
from gateway.settings import GatewaySettings
from servekit.rpc.contract import deadline_seconds


@pytest.mark.parametrize("operation", [row for row in OPERATIONS if row.rpc], ids=lambda row: row.id)
def test_an_operation_has_the_deadline_of_its_rpc(operation):
    assert operation.deadline_seconds(GatewaySettings(default_timeout_seconds=1)) == deadline_seconds(operation.rpc)


def test_an_operation_without_an_rpc_has_the_deadline_of_a_setting():
    by_id = {
        row.id: row.deadline_seconds(GatewaySettings(default_timeout_seconds=7, file_timeout_seconds=8))
        for row in OPERATIONS
    }
    assert (by_id["listModels"], by_id["createFile"]) == (7, 8)


def test_a_live_session_ends_before_its_stream_to_the_speech_service():
    assert GatewaySettings().max_realtime_session_seconds < deadline_seconds(
        "polyphony.speech.v1.TranscriptionService/StreamingTranscribe"
    )


def test_an_unknown_rpc_has_no_deadline():
    with pytest.raises(KeyError, match="Sing"):
        deadline_seconds("polyphony.speech.v1.SynthesisService/Sing")
