"""The official `openai` client against real models."""

import base64
import json
import re

import numpy as np
import psycopg
import pytest
from openai import BadRequestError, NotFoundError

from fleet.temporary import TemporaryFleet
from servekit.media.audio_encoder import encode_audio
from tests.e2e.conftest import ON_THE_PAGE, QUESTION


def words(text):
    return re.findall(r"[a-z0-9']+", text.lower())


def word_errors(said, heard):
    """Levenshtein distance in words, over the words said."""
    row = list(range(len(heard) + 1))
    for i, a in enumerate(said, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(heard, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1] / len(said)


def data_url(data, mime_type="image/png"):
    return f"data:{mime_type};base64,{base64.b64encode(data).decode()}"


def test_models_are_listed_with_their_aliases(client):
    ids = {model.id for model in client.models.list()}
    assert {"whisper-base", "whisper-1", "tts-1", "all-minilm-l6-v2", "qwen2.5-coder-0.5b-instruct"} <= ids


def test_synthesized_speech_is_transcribed_again(client, question):
    heard = client.audio.transcriptions.create(model="whisper-1", file=("question.wav", question))
    assert word_errors(words(QUESTION), words(heard.text)) <= 0.2


@pytest.mark.parametrize("form", ["mp3", "opus", "flac", "aac"])
def test_speech_in_every_format_is_understood(client, form):
    spoken = client.audio.speech.create(
        model="tts-1", voice="default", input="The mayor was not amused.", response_format=form
    )
    heard = client.audio.transcriptions.create(
        model="whisper-1", file=(f"speech.{form}", spoken.content), response_format="verbose_json", language="en"
    )
    assert word_errors(words("The mayor was not amused"), words(heard.text)) <= 0.2
    assert 1 < heard.duration < 4


def test_silence_has_no_words(client):
    silence = encode_audio(np.zeros(16_000 * 10, np.float32), "audio/wav", 16_000)
    heard = client.audio.transcriptions.create(model="whisper-1", file=("silence.wav", silence))
    assert heard.text == ""


def test_chat_streams(client):
    chunks = list(
        client.chat.completions.create(
            model="qwen2.5-coder-0.5b-instruct",
            messages=[{"role": "user", "content": "What is the capital of France? Answer in a sentence."}],
            stream=True,
            stream_options={"include_usage": True},
            temperature=0,
            max_tokens=20,
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert words(text)
    assert len(chunks) > 2
    assert chunks[-1].usage.completion_tokens > 0


CAPITALS = {"France": "paris", "Italy": "rome", "Japan": "tokyo", "Spain": "madrid", "Germany": "berlin"}


def test_most_capitals_are_answered_correctly(client):
    answers = {
        country: client.chat.completions.create(
            model="qwen2.5-coder-0.5b-instruct",
            messages=[{"role": "user", "content": f"What is the capital of {country}? One word."}],
            temperature=0,
            max_tokens=20,
        )
        for country in CAPITALS
    }
    right = [CAPITALS[country] in words(answer.choices[0].message.content) for country, answer in answers.items()]
    assert sum(right) >= 3


def test_a_seed_gives_the_same_text_twice(client):
    def ask():
        return client.chat.completions.create(
            model="", messages=[{"role": "user", "content": "Name three rivers."}], seed=7, max_tokens=30
        )

    assert ask().choices[0].message.content == ask().choices[0].message.content


def test_a_schema_is_followed(client):
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "country": {"type": "string"}},
        "required": ["city", "country"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model="qwen2.5-coder-0.5b-instruct",
        messages=[{"role": "user", "content": "Where is the Eiffel Tower? Answer as JSON with city and country."}],
        response_format={"type": "json_schema", "json_schema": {"name": "place", "schema": schema, "strict": True}},
        temperature=0,
        max_tokens=60,
    )
    found = json.loads(answer.choices[0].message.content)
    assert found.keys() == {"city", "country"}
    assert all(isinstance(value, str) for value in found.values())


def test_one_request_of_an_image_a_spoken_question_and_a_document(client, page, question):
    file = client.files.create(
        file=("coins.txt", b"The coins in the picture were found in Pompeii."), purpose="assistants"
    )
    store = client.vector_stores.create(name="coins", file_ids=[file.id])
    answer = client.chat.completions.create(
        model="qwen2.5-coder-0.5b-instruct",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": data_url(page)}},
                    {
                        "type": "input_audio",
                        "input_audio": {"data": base64.b64encode(question).decode(), "format": "wav"},
                    },
                ],
            }
        ],
        tools=[{"type": "file_search", "vector_store_ids": [store.id]}],
        temperature=0,
        max_tokens=80,
    )
    about = answer.model_extra["polyphony"]
    assert {step["name"] for step in about["steps"]} >= {
        "read_text",
        "transcribe",
        "search",
        "generate_text",
    }
    assert about["degraded"] == []
    assert about["sources"][0]["filename"] == "coins.txt"
    said = answer.choices[0].message.content.lower()
    assert any(word in said for word in ON_THE_PAGE), said


def test_a_spoken_answer(client):
    answer = client.chat.completions.create(
        model="qwen2.5-coder-0.5b-instruct",
        modalities=["text", "audio"],
        audio={"voice": "default", "format": "wav"},
        messages=[{"role": "user", "content": "Say exactly: good morning to all of you"}],
        temperature=0,
        max_tokens=20,
    )
    audio = answer.choices[0].message.audio
    heard = client.audio.transcriptions.create(
        model="whisper-1", file=("answer.wav", base64.b64decode(audio.data)), language="en"
    )
    assert word_errors(words(audio.transcript), words(heard.text)) <= 0.34


def test_embeddings_of_similar_sentences_are_closer(client):
    texts = ["A cat sat on the mat.", "A kitten rested on a rug.", "Interest rates rose again."]
    rows = client.embeddings.create(model="all-minilm-l6-v2", input=texts)
    cat, kitten, rates = (np.array(row.embedding) for row in rows.data)
    assert cat.shape == (384,)
    assert cat @ kitten > cat @ rates + 0.2


def tables(fleet: TemporaryFleet) -> int:
    """How many tables and indexes the fleet's Postgres has for retrieval."""
    password = (fleet.home / "run" / "postgres.password").read_text()
    with psycopg.connect(f"postgresql://polyphony:{password}@{fleet.address('postgres')}/polyphony") as connection:
        query = "SELECT count(*) FROM pg_class WHERE relnamespace = 'retrieval'::regnamespace"
        (count,) = connection.execute(query).fetchone()
    return count


def test_a_vector_store_is_searched_and_deleted_whole(client, fleet):
    before = tables(fleet)
    text = "\n\n".join(
        [
            "The library opens at nine in the morning.",
            "The swimming pool is closed in winter.",
            "Dogs are not allowed in the museum.",
        ]
    )
    file = client.files.create(file=("town.txt", text.encode()), purpose="assistants")
    store = client.vector_stores.create(name="town")
    client.vector_stores.files.create(vector_store_id=store.id, file_id=file.id)
    found = client.vector_stores.search(store.id, query="When can I borrow books?").data
    assert "library opens at nine" in found[0].content[0].text
    assert found[0].filename == "town.txt"
    assert tables(fleet) > before
    client.vector_stores.delete(store.id)
    assert tables(fleet) == before
    with pytest.raises(NotFoundError):
        client.vector_stores.search(store.id, query="books")


def test_errors_have_openais_shape(client):
    with pytest.raises(NotFoundError) as missing:
        client.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "hi"}])
    assert missing.value.param == "model"
    with pytest.raises(BadRequestError) as bad:
        client.chat.completions.create(
            model="",
            messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}],
        )
    assert "image_url" in bad.value.param
    assert bad.value.request_id
