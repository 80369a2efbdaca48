"""What is said to a running fleet of real models is written down while it is said."""

import asyncio
import base64
import io
import wave

import numpy as np
from openai import AsyncOpenAI

from tests.e2e.conftest import QUESTION
from tests.e2e.test_openai import word_errors, words

COMPLETED = "conversation.item.input_audio_transcription.completed"
PIECE_SECONDS = 0.1


async def test_a_spoken_question_is_transcribed_live_and_silence_is_not(fleet, question):
    with wave.open(io.BytesIO(question)) as file:
        rate, asked = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")
    hum = (np.random.default_rng(0).normal(0, 30, rate * 2)).astype("<i2")
    sound = np.concatenate([hum, asked, hum])
    events = []
    async with (
        AsyncOpenAI(api_key="none", base_url=f"{fleet.address('gateway')}/v1") as client,
        client.realtime.connect(extra_query={"intent": "transcription"}) as connection,
        asyncio.timeout(90),
    ):
        listening = {"format": {"type": "audio/pcm", "rate": rate}, "transcription": {"language": "en"}}
        await connection.session.update(session={"type": "transcription", "audio": {"input": listening}})

        async def speak():
            size = int(rate * PIECE_SECONDS)
            for begin in range(0, len(sound), size):
                piece = sound[begin : begin + size].tobytes()
                await connection.input_audio_buffer.append(audio=base64.b64encode(piece).decode())
                await asyncio.sleep(PIECE_SECONDS)

        speaking = asyncio.create_task(speak())
        async for event in connection:
            events.append(event)
            if event.type == COMPLETED:
                break
        await speaking
    item = events[-1].item_id
    assert word_errors(words(QUESTION), words(events[-1].transcript)) <= 0.2
    deltas = [event.delta for event in events if event.type.endswith("transcription.delta")]
    assert "".join(deltas) == events[-1].transcript
    (started,) = [event for event in events if event.type.endswith("speech_started")]
    assert started.item_id == item
    assert 1500 <= started.audio_start_ms <= 2600  # where the hum ends
    assert events[-1].polyphony["language"] == "en"
