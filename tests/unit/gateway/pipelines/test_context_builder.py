"""What the context builder makes of the media of a conversation."""

import base64

from polyphony.speech.v1 import transcription_pb2 as transcription

RECORDING = base64.b64encode(b"a recording").decode()
QUESTION = {
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "input_audio", "input_audio": {"data": RECORDING, "format": "wav"}},
                {"type": "text", "text": "What is said?"},
            ],
        }
    ]
}


async def test_a_transcript_without_its_final_event_is_neither_used_nor_cached(http, state, orders, monkeypatch):
    async def cut_short(request):
        yield transcription.TranscribeResponse(segment=transcription.TranscriptSegment(text="Only the"))

    with monkeypatch.context() as patch:
        patch.setattr(state.clients.transcription, "Transcribe", cut_short)
        answer = (await http.post("/v1/chat/completions", json=QUESTION)).json()
    assert answer["polyphony"]["degraded"] == ["transcribe"]
    orders.words = "Only the whole is true"
    answer = (await http.post("/v1/chat/completions", json=QUESTION)).json()
    assert (answer["polyphony"]["degraded"], answer["polyphony"]["steps"][0]["cached"]) == ([], False)
    prompt = orders.requests("GenerateText")[-1].messages[-1].parts
    assert "Only the whole is true" in [part.text for part in prompt]
