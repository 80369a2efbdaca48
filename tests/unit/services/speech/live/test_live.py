"""Live transcription: what is committed stays, what is final comes."""

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from polyphony.speech.v1 import transcription_pb2 as pb

from servekit.errors import InvalidArgument, NotFound, TooLarge

from .conftest import COMMIT, answers, audio, config, finals, kinds, sound


async def test_phrases_one_after_another(live, mind):
    mind.texts = []
    speech = audio((0, 0.5), (0.5, 2), (0, 1), (0.5, 1), (0, 0.2))
    events = await answers(live, config(final_only=True, word_times=True), speech)
    assert kinds(events) == ["started", *["utterance_started", "final"] * 2, "finished"]
    assert events[0].started.model == "mind"
    one, two = finals(events)
    assert (one.utterance, two.utterance) == (0, 1)
    assert one.segment.time.start_seconds == pytest.approx(0.5, abs=0.05)
    assert one.segment.time.end_seconds == pytest.approx(2.5, abs=0.05)
    assert one.segment.text.startswith("w0 w1 w2")
    assert one.language == "en"
    assert two.segment.words[0].time.start_seconds == pytest.approx(3.2, abs=0.1)  # of the stream: 0.3 s of padding
    assert events[-1].finished.duration_seconds == pytest.approx(4.7, abs=1e-6)
    assert events[-1].finished.speech_seconds == pytest.approx(3, abs=0.1)


async def test_partials_while_somebody_speaks_force_what_is_stable(live, mind):
    events = await answers(live, config(), audio((0.5, 3), (0, 0.7)), pace=0.02)
    partials = [event.interim for event in events if event.HasField("interim")]
    assert len(partials) >= 2
    assert partials[0].committed_text == ""
    assert partials[-1].committed_text.startswith("w0")
    (final,) = finals(events)
    assert final.segment.text.startswith(partials[-1].committed_text)
    assert any(window.prefix and partials[-1].committed_text.startswith(window.prefix) for window in mind.windows)


@examples(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.lists(st.sampled_from("abc"), max_size=5).map(" ".join), max_size=12))
async def test_stable_text_only_grows_though_the_model_changes_its_mind(live, mind, texts):
    mind.texts = list(texts)
    events = await answers(live, config(), audio((0.5, 2), (0, 0.3), (0.5, 1), (0, 0.7)), pace=0.005)
    mind.texts = []
    committed = ""
    for event in events:
        if event.HasField("interim"):
            assert event.interim.committed_text.startswith(committed)
            committed = event.interim.committed_text
        if event.HasField("final"):
            assert event.final.segment.text.startswith(committed)
            committed = ""
    assert len(finals(events)) == 1


async def test_the_last_decoding_begins_before_the_phrase_has_ended(live, mind):
    mind.seconds = 1.5
    events = await answers(live, config(end_silence_seconds=2, final_only=True), audio((0.5, 1), (0, 2.5)), pace=0.1)
    assert len(mind.windows) == 1  # begun 0.2 s into the silence, done when it is 2 s long
    assert 1900 <= finals(events)[0].latency_ms < 3300


async def test_a_guess_at_a_pause_is_thrown_away_when_speech_goes_on(live, mind):
    speech = audio((0.5, 1), (0, 0.35), (0.5, 1), (0, 0.6))
    (final,) = finals(await answers(live, config(final_only=True), speech, pace=0.05))
    assert len(mind.windows) == 2
    assert final.segment.time.end_seconds == pytest.approx(2.35, abs=0.05)
    assert mind.windows[-1].seconds > 2


async def test_silence_is_nothing(live, mind):
    assert kinds(await answers(live, config(), audio((0, 3)))) == ["started", "finished"]
    assert kinds(await answers(live, config())) == ["started", "finished"]
    assert mind.windows == []


async def test_a_commit_ends_the_phrase_and_by_hand_nothing_else_does(live):
    events = await answers(live, config(), COMMIT, audio((0.5, 1)), COMMIT, COMMIT, audio((0.5, 1)))
    assert len(finals(events)) == 2
    by_hand = config(voice_activity=pb.VoiceActivityOptions(disabled=True))
    events = await answers(live, by_hand, audio((0.5, 1), (0, 2), (0.5, 1)), COMMIT, audio((0, 1)), COMMIT)
    one, two = finals(events)
    assert (one.segment.time.start_seconds, two.segment.time.start_seconds) == (0, one.segment.time.end_seconds)


async def test_the_language_stays_once_words_are_stable(live, mind):
    mind.language = "de"
    await answers(live, config(), audio((0.5, 3), (0, 0.7)), pace=0.02)
    assert [window.options.language for window in mind.windows if window.prefix][-1] == "de"
    assert mind.windows[0].options.language == ""


@pytest.mark.parametrize(
    ("messages", "error", "name"),
    [
        ([], InvalidArgument, "config"),
        ([sound(b"12")], InvalidArgument, "config"),
        ([pb.StreamingTranscribeRequest()], InvalidArgument, "config"),
        ([config(), config()], InvalidArgument, "config"),
        ([config(model="none")], NotFound, "model"),
        ([config(language="xx")], InvalidArgument, "language"),
        ([config(sample_rate_hertz=1)], InvalidArgument, "sample_rate_hertz"),
        ([config(sample_rate_hertz=768_000)], InvalidArgument, "sample_rate_hertz"),
        ([config(end_silence_seconds=0.1)], InvalidArgument, "end_silence_seconds"),
        ([config(end_silence_seconds=float("nan"))], InvalidArgument, "end_silence_seconds"),
        ([config(voice_activity={"threshold": 1.5})], InvalidArgument, "voice_activity.threshold"),
        ([config(voice_activity={"threshold": 0.001})], InvalidArgument, "voice_activity.threshold"),
        ([config(voice_activity={"padding_seconds": -1})], InvalidArgument, "voice_activity.padding_seconds"),
        ([config(prompt="x" * 21)], TooLarge, "prompt"),
        ([config(hotwords=["x" * 11] * 2)], TooLarge, "hotwords"),
    ],
)
async def test_what_is_wrong_is_named(live, messages, error, name):
    with pytest.raises(error) as raised:
        await answers(live, *messages)
    assert raised.value.field == name
