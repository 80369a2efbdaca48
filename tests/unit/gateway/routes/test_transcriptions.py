"""Transcriptions and translations, asked for as OpenAI's own client does."""

import json

import grpc
import httpx
import httpx2
import pytest
from openai import APIError, AsyncOpenAI, BadRequestError
from polyphony.speech.v1 import transcription_pb2 as pb
from polyphony.speech.v1.diarization_pb2 import DiarizeResponse, SpeakerTurn
from polyphony.speech.v1.diarization_pb2_grpc import (
    DiarizationServiceServicer,
    add_DiarizationServiceServicer_to_server,
)
from polyphony.speech.v1.transcription_pb2_grpc import (
    TranscriptionServiceServicer,
    add_TranscriptionServiceServicer_to_server,
)
from polyphony.type.v1.time_span_pb2 import TimeSpan

from gateway.app import build_app
from servekit.errors import InvalidArgument, Unavailable
from servekit.ops.telemetry import Telemetry
from servekit.rpc.interceptor import CallInterceptor

SOUND = ("a.wav", b"sound", "audio/wav")
SENTENCES = ("The ship came in.", "Nobody saw it.")


class Speech(TranscriptionServiceServicer, DiarizationServiceServicer):
    """Hears the sentences that it was told, four words a second with two seconds between, then fails as it was told."""

    def __init__(self):
        self.sentences = SENTENCES
        self.tells_speakers = True
        self.requests = []
        self.first_error = self.last_error = self.speaker_error = None

    async def Transcribe(self, request, context):
        self.requests.append(request)
        if self.first_error:
            raise self.first_error
        yield pb.TranscribeResponse(started=pb.TranscriptionStarted(language="en", model=request.model))
        at = 0.0
        for text in self.sentences:
            yield pb.TranscribeResponse(progress=pb.TranscriptionProgress(transcribed_seconds=at, duration_seconds=30))
            words = [
                pb.TranscriptWord(
                    time=TimeSpan(start_seconds=at + i / 4, end_seconds=at + (i + 1) / 4),
                    text=word,
                    probability=0.91234567,
                )
                for i, word in enumerate(text.split())
            ]
            segment = pb.TranscriptSegment(
                time=TimeSpan(start_seconds=at, end_seconds=at + len(words) / 4),
                text=text,
                words=words if request.word_times else (),
                mean_log_probability=-0.25,
                compression_ratio=1.5,
                temperature=0.5,
            )
            yield pb.TranscribeResponse(segment=segment)
            at += len(words) / 4 + 2
        if self.last_error:
            raise self.last_error
        yield pb.TranscribeResponse(finished=pb.TranscriptionFinished(duration_seconds=30))

    async def Diarize(self, request, context):
        self.requests.append(request)
        if self.speaker_error:
            raise self.speaker_error
        names = [speaker.name for speaker in request.known_speakers] or ["A", "B"]
        turns = [
            SpeakerTurn(time=TimeSpan(start_seconds=start, end_seconds=end), speaker=name)
            for start, end, name in ((0.1, 0.6, names[0]), (0.6, 1.5, names[-1]), (3.2, 4.0, names[0]))
            if self.tells_speakers
        ]
        return DiarizeResponse(turns=turns, duration_seconds=30)


@pytest.fixture
def speech():
    return Speech()


@pytest.fixture
async def app(build, speech, settings):
    server = grpc.aio.server(interceptors=[CallInterceptor(Telemetry(settings), {})])
    add_TranscriptionServiceServicer_to_server(speech, server)
    add_DiarizationServiceServicer_to_server(speech, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield build_app(build(speech_target=f"127.0.0.1:{port}"))
    await server.stop(0)


@pytest.fixture
async def audio(app):
    """The official client's `audio`."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app)) as http:
        yield AsyncOpenAI(base_url="http://localhost/v1", api_key="none", max_retries=0, http_client=http).audio


@pytest.fixture
async def http(app):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost/v1/audio") as client:
        yield client


async def test_json_text_and_verbose_json(audio, speech):
    create = audio.transcriptions.create
    plain = await create(model="whisper-1", file=SOUND)
    assert (plain.text, plain.usage.seconds) == (" ".join(SENTENCES), 30)
    assert await create(model="whisper-1", file=SOUND, response_format="text") == " ".join(SENTENCES) + "\n"
    both = await create(
        model="whisper-1", file=SOUND, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert (both.language, both.duration, both.text) == ("english", 30, plain.text)
    assert [(row.id, row.start, row.end) for row in both.segments] == [(0, 0, 1), (1, 3, 3.75)]
    assert (both.segments[0].avg_logprob, both.segments[0].compression_ratio) == (-0.25, 1.5)
    assert (both.words[4].word, both.words[4].start, both.words[4].end) == ("Nobody", 3, 3.25)
    assert both.words[4].probability == 0.9123
    assert not speech.requests[0].word_times
    words = await create(
        model="whisper-1", file=SOUND, response_format="verbose_json", timestamp_granularities=["word"]
    )
    assert (len(words.words), words.segments) == (7, None)
    segments = await create(model="whisper-1", file=SOUND, response_format="verbose_json")
    assert (segments.words, len(segments.segments)) == (None, 2)


async def test_subtitles(audio, http):
    create = audio.transcriptions.create
    srt = await create(model="whisper-1", file=SOUND, response_format="srt")
    assert srt == (
        "1\n00:00:00,000 --> 00:00:01,000\nThe ship came in.\n\n2\n00:00:03,000 --> 00:00:04,000\nNobody saw it.\n"
    )
    vtt = await create(model="whisper-1", file=SOUND, response_format="vtt")
    assert vtt.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nThe ship came in.\n\n")
    response = await http.post("/transcriptions", files={"file": SOUND}, data={"response_format": "lrc"})
    assert response.text == "[00:00.00]The ship came in.\n[00:03.00]Nobody saw it.\n[00:04.00]\n"
    response = await http.post("/transcriptions", files={"file": SOUND}, data={"response_format": "vtt"})
    assert response.headers["content-type"] == "text/vtt; charset=utf-8"


async def test_every_option_reaches_the_service(audio, speech):
    await audio.transcriptions.create(
        model="whisper-1",
        file=SOUND,
        language="fr",
        prompt="Said before.",
        temperature=0.5,
        keywords=["Polyphony"],
        extra_body={"hotwords": ["gRPC", "Opus"], "full_window": True},
        chunking_strategy={
            "type": "server_vad", "threshold": 0.25, "silence_duration_ms": 700, "prefix_padding_ms": 0
        },
    )  # fmt: skip
    (request,) = speech.requests
    assert (request.language, request.prompt, request.temperature) == ("fr", "Said before.", 0.5)
    assert (list(request.hotwords), request.full_window) == (["Polyphony", "gRPC", "Opus"], True)
    activity = request.voice_activity
    assert (activity.threshold, activity.min_silence_seconds, activity.padding_seconds) == (0.25, 0.7, 0.001)
    await audio.transcriptions.create(
        model="whisper-1", file=SOUND, chunking_strategy="auto", languages=["de"], extra_body={"vad_filter": False}
    )
    assert (speech.requests[1].language, speech.requests[1].voice_activity.disabled) == ("de", True)


async def test_a_stream_of_events(audio):
    stream = await audio.transcriptions.create(model="whisper-1", file=SOUND, stream=True)
    events = [event async for event in stream]
    assert [event.type for event in events] == [*["transcript.text.delta"] * 2, "transcript.text.done"]
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == " ".join(SENTENCES)
    assert (events[-1].usage.type, events[-1].usage.seconds) == ("duration", 30)


async def test_progress_is_sent_in_comments(http):
    response = await http.post("/transcriptions", files={"file": SOUND}, data={"stream": "true"})
    assert response.headers["content-type"].startswith("text/event-stream")
    comments = [json.loads(line[2:]) for line in response.text.splitlines() if line.startswith(": ")]
    assert {"heard_seconds": 3.0, "duration_seconds": 30.0} in comments
    assert response.text.endswith("data: [DONE]\n\n")


async def test_a_stream_that_fails_ends_with_an_error(audio, speech):
    speech.first_error = InvalidArgument("not a recording", field="audio.inline")
    with pytest.raises(BadRequestError) as refused:
        await audio.transcriptions.create(model="whisper-1", file=SOUND, stream=True)
    assert refused.value.param == "file"
    speech.first_error, speech.last_error = None, Unavailable("gone", retry_after=1)
    with pytest.raises(APIError, match="gone"):
        [_ async for _ in await audio.transcriptions.create(model="whisper-1", file=SOUND, stream=True)]


@pytest.mark.filterwarnings("ignore:deprecated")  # OpenAI would rather have other models called
async def test_translations(audio, speech):
    create = audio.translations.create
    assert (await create(model="whisper-1", file=SOUND)).text == " ".join(SENTENCES)
    verbose = await create(model="whisper-1", file=SOUND, response_format="verbose_json")
    assert (verbose.language, len(verbose.segments)) == ("english", 2)
    assert (await create(model="whisper-1", file=SOUND, response_format="srt")).startswith("1\n00:00:00,000")
    assert all(request.task == pb.TRANSCRIPTION_TASK_TRANSLATE for request in speech.requests)
    speech.first_error = InvalidArgument("this model does not translate", field="task")
    with pytest.raises(BadRequestError) as refused:
        await create(model="whisper-1", file=SOUND)
    assert refused.value.param == "model"


def words_of(speaker_rows):
    return [(row.speaker, row.text, row.start, row.end) for row in speaker_rows]


async def test_a_transcript_is_diarized(audio, speech):
    create = audio.transcriptions.create
    said = await create(model="whisper-1", file=SOUND, response_format="diarized_json")
    assert (said.task, said.duration, said.text) == ("transcribe", 30, " ".join(SENTENCES))
    expected = [("A", "The ship", 0, 0.5), ("B", "came in.", 0.5, 1), ("A", "Nobody saw it.", 3, 3.75)]
    assert words_of(said.segments) == expected
    assert [row.id for row in said.segments] == ["seg_0", "seg_1", "seg_2"]
    stream = await create(model="whisper-1", file=SOUND, response_format="diarized_json", stream=True)
    *segments, done = [event async for event in stream]
    assert words_of(segments) == expected
    assert (segments[0].type, done.type, done.text) == ("transcript.text.segment", "transcript.text.done", said.text)
    known = await create(
        model="whisper-1", file=SOUND, response_format="diarized_json",
        known_speaker_names=["Ann"], known_speaker_references=["data:audio/wav;base64,c291bmQ="],
    )  # fmt: skip
    assert {row.speaker for row in known.segments} == {"Ann"}
    (voice,) = next(request for request in speech.requests[-2:] if hasattr(request, "known_speakers")).known_speakers
    assert (voice.name, voice.audio.mime_type, voice.audio.inline) == ("Ann", "audio/wav", b"sound")


async def test_an_invalid_known_speaker_is_named_by_the_form(audio, speech):
    speech.speaker_error = InvalidArgument("too short", field="known_speakers[0].audio")
    with pytest.raises(BadRequestError, match="too short") as refused:
        await audio.transcriptions.create(
            model="whisper-1", file=SOUND, response_format="diarized_json",
            known_speaker_names=["Ann"], known_speaker_references=["data:audio/wav;base64,c291bmQ="],
        )  # fmt: skip
    assert refused.value.param == "known_speaker_references[0]"


async def test_words_without_a_speaker_get_the_default_one(audio, speech):
    speech.tells_speakers = False
    said = await audio.transcriptions.create(model="whisper-1", file=SOUND, response_format="diarized_json")
    assert {row.speaker for row in said.segments} == {"A"}


@pytest.mark.parametrize(
    ("form", "answer"),
    [
        ("json", '{"text":"","usage":{"seconds":30.0,"type":"duration"}}'),
        ("text", "\n"),
        ("srt", ""),
        ("vtt", "WEBVTT\n"),
        ("lrc", ""),
    ],
)
async def test_silence_has_no_text(http, speech, form, answer):
    speech.sentences = ()
    response = await http.post("/transcriptions", files={"file": SOUND}, data={"response_format": form})
    assert (response.status_code, response.text) == (200, answer)
