"""A voice of one's own, from its recording to its sound, through HTTP, on fakes."""

import httpx
from openai import OpenAI

from tests.integration.conftest import recording


def test_a_voice_is_created_used_and_deleted(http: httpx.Client):
    with OpenAI(base_url=f"{http.base_url}/v1", api_key="none", max_retries=0) as client:
        made = client.audio.voices.create(
            name="anna", consent="Anna agreed on 1 May", audio_sample=("a.wav", recording(4.0)), type="audio_sample"
        )
        assert made.id == "anna"
        again = http.post(
            "/v1/audio/voices", data={"name": "anna", "consent": "yes"}, files={"file": ("a.wav", recording(4.0))}
        )
        assert (again.status_code, again.json()["error"]["param"]) == (409, "name")
        short = http.post(
            "/v1/audio/voices", data={"name": "berta", "consent": "yes"}, files={"file": ("a.wav", recording(0.3))}
        )
        assert (short.status_code, short.json()["error"]["param"]) == (400, "audio_sample")
        assert "0.3 s" in short.json()["error"]["message"]
        listed = http.get("/v1/audio/voices").json()["data"]
        assert [voice["id"] for voice in listed] == ["low", "high", "anna"]

        def speak(voice: str) -> bytes:
            return client.audio.speech.create(
                model="tts-1", voice=voice, input="Good morning. It is 9:30.", response_format="pcm"
            ).content

        assert speak("anna") == speak("anna") != speak("low")
        client.audio.voices.delete("anna")
    assert http.delete("/v1/audio/voices/anna").status_code == 404
    gone = http.post("/v1/audio/speech", json={"input": "hi", "voice": "anna"})
    assert (gone.status_code, gone.json()["error"]["param"]) == (404, "voice")
