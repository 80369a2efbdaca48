"""Live sound through the whole fleet of fakes: a browser's frames in, words as events out."""

import json

import numpy as np
from websockets.sync.client import connect

COMPLETED = "conversation.item.input_audio_transcription.completed"


def test_live_transcription_sends_events_and_is_counted(fleet, http):
    address = fleet.address("gateway").replace("http:", "ws:")
    tone = (np.sin(np.arange(24_000 * 2) / 20) * 8000).astype("<i2").tobytes()
    events = []
    with connect(f"{address}/v1/realtime?intent=transcription", subprotocols=["realtime"]) as ws:
        for piece in (tone[:48_000], tone[48_000:], bytes(48_000), bytes(48_000)):
            ws.send(piece)
        while not events or events[-1]["type"] != COMPLETED:
            events.append(json.loads(ws.recv(timeout=20)))
    assert events[0]["type"] == "session.created"
    assert events[-1]["transcript"]
    deltas = [event["delta"] for event in events if event["type"].endswith(".delta")]
    assert "".join(deltas) == events[-1]["transcript"]
    assert events[-1]["polyphony"]["latency_ms"] >= 0
    assert 'polyphony_requests_in_flight{method="WS /v1/realtime"}' in http.get("/metrics").text
