"""Every RPC of speech over gRPC on real models: each says something that only the right model can know."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import mean
from typing import Any

import grpc
import numpy as np
import pytest
from polyphony.speech.v1 import (
    alignment_pb2,
    anomaly_pb2,
    assessment_pb2,
    diarization_pb2,
    emotion_pb2,
    enhancement_pb2,
    voices_pb2,
)
from polyphony.speech.v1 import synthesis_pb2 as synthesis_pb
from polyphony.speech.v1 import transcription_pb2 as transcription_pb
from polyphony.type.v1.media_pb2 import Media

from evaluation.sounds import machine, wav
from evaluation.speech_set import sound
from servekit.media.audio_encoder import encode_audio
from tests.e2e.clips import TEXTS, Talk, clip, recalled, si_sdr, wrong
from tests.stubs import SpeechStub

CLIPS = 8  # to fit a model of sounds to


def media(samples: sound.Samples) -> Media:
    return Media(inline=encode_audio(samples, "audio/wav", sound.RATE), mime_type="audio/wav")


@pytest.fixture(scope="module")
def speech(fleet: Any) -> Iterator[SpeechStub]:
    with grpc.insecure_channel(fleet.address("speech", "grpc")) as channel:
        yield SpeechStub(channel)


def heard(speech: SpeechStub, audio: Media) -> str:
    events = speech.Transcribe(transcription_pb.TranscribeRequest(audio=audio, language="en"), timeout=60)
    return " ".join(event.segment.text for event in events if event.HasField("segment"))


def test_transcribe(speech):
    talk = Talk.of("austen-4", "pump")
    request = transcription_pb.TranscribeRequest(audio=media(talk.samples), word_times=True)
    events = list(speech.Transcribe(request, timeout=60))
    (started,) = [event.started for event in events if event.HasField("started")]
    assert (started.language, started.model) == ("en", "whisper-base")
    assert started.language_probability > 0.5
    segments = [event.segment for event in events if event.HasField("segment")]
    assert wrong(talk.text, " ".join(segment.text for segment in segments)) < 0.15
    starts = [word.time.start_seconds for segment in segments for word in segment.words]
    assert starts == sorted(starts)
    of_pump = [start for start in starts if start > talk.spans[1][0] - 0.3]
    assert len(of_pump) == pytest.approx(len(TEXTS["pump"].split()), rel=0.2)
    assert events[-1].finished.duration_seconds == pytest.approx(len(talk.samples) / sound.RATE)


def test_streaming_transcribe(speech):
    pcm = encode_audio(np.concatenate([clip("garden"), sound.silence(1.0)]), "audio/pcm", sound.RATE)

    def spoken() -> Iterator[transcription_pb.StreamingTranscribeRequest]:
        yield transcription_pb.StreamingTranscribeRequest(
            config=transcription_pb.StreamingConfig(language="en", word_times=True)
        )
        for begin in range(0, len(pcm), 3200):
            yield transcription_pb.StreamingTranscribeRequest(audio=pcm[begin : begin + 3200])

    events = list(speech.StreamingTranscribe(spoken(), timeout=60))
    said = [event.final.segment for event in events if event.HasField("final")]
    assert wrong(TEXTS["garden"], " ".join(segment.text for segment in said)) < 0.15
    assert events[0].HasField("started")
    assert events[-1].finished.duration_seconds == pytest.approx(len(pcm) / 2 / sound.RATE, abs=0.04)


def test_diarize(speech):
    talk = Talk.of("austen-1", "letter", "austen-3", "garden")
    request = diarization_pb2.DiarizeRequest(audio=media(talk.samples))
    answer = speech.Diarize(request, timeout=60)
    turns = [(turn.time.start_seconds, turn.time.end_seconds, turn.speaker) for turn in answer.turns]
    assert [speaker.name for speaker in answer.speakers] == ["A", "B"]
    assert [talk.speaker(turns, number) for number in range(4)] == ["A", "B", "A", "B"]


def test_align(speech):
    talk = Talk.of("garden", "austen-4")
    request = alignment_pb2.AlignRequest(audio=media(talk.samples), text=talk.text, language="en")
    words = speech.Align(request, timeout=60).words
    assert " ".join(word.text for word in words) == talk.text.replace("\n", " ")
    assert all(word.time.end_seconds <= after.time.start_seconds + 0.01 for word, after in pairwise(words))
    assert mean(word.confidence for word in words) > 0.7
    for line, (start, end) in enumerate(talk.spans):
        of_line = [word.time for word in words if word.line == line]
        assert of_line[0].start_seconds == pytest.approx(start, abs=0.25)
        assert of_line[-1].end_seconds == pytest.approx(end, abs=0.45)


def test_synthesize(speech):
    text = "The morning was bright and very cold."
    request = synthesis_pb.SynthesizeRequest(text=text, voice="heart", mime_type="audio/flac")
    started, *chunks, finished = speech.Synthesize(request, timeout=60)
    assert (started.started.mime_type, started.started.voice) == ("audio/flac", "heart")
    assert 1 < finished.finished.duration_seconds < 5
    file = b"".join(event.chunk for event in chunks)
    assert wrong(text, heard(speech, Media(inline=file, mime_type="audio/flac"))) < 0.3


def test_voices(speech):
    listed = speech.ListVoices(voices_pb2.ListVoicesRequest(), timeout=10).voices
    assert [(voice.name, list(voice.languages)) for voice in listed] == [("heart", ["en"])]
    request = voices_pb2.CreateVoiceRequest(
        name="anna", reference_audio=media(clip("austen-1")), consent=True, consent_statement="She agreed."
    )
    with pytest.raises(grpc.RpcError, match="gpu-voices") as refused:
        speech.CreateVoice(request, timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    with pytest.raises(grpc.RpcError) as nobody:
        speech.DeleteVoice(voices_pb2.DeleteVoiceRequest(name="anna"), timeout=10)
    assert nobody.value.code() is grpc.StatusCode.NOT_FOUND


def test_enhance(speech):
    clean = np.concatenate([sound.silence(0.5), clip("austen-1"), sound.silence(0.5)])
    noisy = sound.noisy(clean, sound.white(9, np.random.default_rng(0)), 5)
    started, *chunks, finished = speech.Enhance(enhancement_pb2.EnhanceRequest(audio=media(noisy)), timeout=60)
    assert started.started.model == "deepfilternet3"
    figures = finished.finished
    assert figures.snr_before_db == pytest.approx(5, abs=4)
    assert figures.snr_after_db > figures.snr_before_db + 5
    enhanced = sound.decode(b"".join(event.chunk for event in chunks))
    assert si_sdr(clean, enhanced) > si_sdr(clean, noisy) + 5


def test_assess(speech):
    reference = TEXTS["garden"].replace("balcony", "sunny terrace")  # neither of which is said
    request = assessment_pb2.AssessRequest(audio=media(clip("garden")), reference_text=reference, language="en")
    answer = speech.Assess(request, timeout=60)
    verdicts = [(word.text, word.verdict) for word in answer.words]
    wrong_verdicts = {assessment_pb2.WORD_VERDICT_OMISSION, assessment_pb2.WORD_VERDICT_SUBSTITUTION}
    assert {verdict for text, verdict in verdicts if text in ("sunny", "terrace")} <= wrong_verdicts
    assert mean(verdict == assessment_pb2.WORD_VERDICT_CORRECT for _, verdict in verdicts) > 0.7
    assert recalled(TEXTS["garden"], " ".join(word.recognized_text for word in answer.words)) > 0.7
    assert answer.completeness == pytest.approx(100 * 13 / 15, abs=15)
    assert 100 < answer.words_per_minute < 300


@pytest.mark.parametrize(
    ("text", "sign"),
    [("I love this wonderful and happy day.", 1), ("What a horrible and ugly disaster, I hate it.", -1)],
)
def test_analyze_emotion(speech, text: str, sign: int):
    events = speech.Synthesize(synthesis_pb.SynthesizeRequest(text=text, mime_type="audio/wav"), timeout=60)
    file = Media(inline=b"".join(event.chunk for event in events), mime_type="audio/wav")
    answer = speech.AnalyzeEmotion(emotion_pb2.AnalyzeEmotionRequest(audio=file, language="en"), timeout=60)
    assert answer.basis == emotion_pb2.EMOTION_BASIS_WORDS_AND_PROSODY
    assert answer.sentiment.score * sign > 0.4
    assert answer.segments
    assert all(100 < segment.prosody.pitch_hertz < 350 for segment in answer.segments)  # a woman's
    assert sum(emotion.probability for emotion in answer.emotions) == pytest.approx(1, abs=0.01)


def pump(condition: str, number: int) -> Media:
    return Media(inline=wav(machine("pump", 1, condition, number)), mime_type="audio/wav")


def fit(speech: SpeechStub, name: str, conditions: Sequence[str], label: bool) -> anomaly_pb2.AnomalyDetector:
    clips = [
        anomaly_pb2.TrainingClip(audio=pump(condition, number), label=condition if label else "")
        for condition in conditions
        for number in range(CLIPS)
    ]
    return speech.TrainAnomalyDetector(
        anomaly_pb2.TrainAnomalyDetectorRequest(name=name, clips=clips), timeout=60
    ).anomaly_detector


def test_anomaly_detection(speech):
    fitted = fit(speech, "pump-state", ["normal"], label=False)
    assert (fitted.version, fitted.clip_count, list(fitted.classes)) == (1, CLIPS, [])

    def score(condition: str) -> anomaly_pb2.DetectAnomalyResponse:
        audio = pump(condition, CLIPS + 1)
        return speech.DetectAnomaly(anomaly_pb2.DetectAnomalyRequest(audio=audio, name="pump-state"), timeout=60)

    well, knocking = score("normal"), score("knocking")
    assert well.score < well.threshold == pytest.approx(fitted.threshold)
    assert knocking.score > knocking.threshold
    assert (well.anomalous, knocking.anomalous) == (False, True)

    listed = speech.ListAnomalyDetectors(anomaly_pb2.ListAnomalyDetectorsRequest(), timeout=10).anomaly_detectors
    assert "pump-state" in [model.name for model in listed]
    speech.DeleteAnomalyDetector(anomaly_pb2.DeleteAnomalyDetectorRequest(name="pump-state"), timeout=10)
    with pytest.raises(grpc.RpcError) as gone:
        score("normal")
    assert gone.value.code() is grpc.StatusCode.NOT_FOUND


def test_sound_classification(speech):
    kinds = ["normal", "whine"]
    fitted = fit(speech, "pump-kinds", kinds, label=True)
    assert sorted(fitted.classes) == sorted(kinds)
    assert fitted.macro_f1 > 0.6
    for kind in kinds:
        audio = pump(kind, CLIPS + 2)
        answer = speech.ClassifySound(anomaly_pb2.ClassifySoundRequest(audio=audio, name="pump-kinds"), timeout=60)
        assert answer.classes[0].label == kind
        assert answer.classes[0].probability > 0.5
    speech.DeleteAnomalyDetector(anomaly_pb2.DeleteAnomalyDetectorRequest(name="pump-kinds"), timeout=10)
