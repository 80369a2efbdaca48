"""What Whisper's adapter does around the engine: what it is shown, with whom, and after which words."""

import numpy as np
import pytest

from servekit.context import CancellationToken
from servekit.errors import Cancelled, EngineCrashed, InvalidArgument, OutOfMemory
from services.speech.audio import SAMPLE_RATE
from services.speech.transcription import TranscriptionOptions, Window

from .engine import IDS, SUN, Engine, always, heard, said, texts, tokens, whisper, window


def test_the_encoder_sees_what_there_is_and_a_second_more():
    engine = Engine(always(*SUN))
    (result,) = heard(whisper(engine), window(4.0))
    assert engine.encoded == [(1, 600)]
    assert texts(result) == ["the sun comes round"]
    segment = result.segments[0]
    assert (segment.start, segment.end, segment.temperature) == (0.0, 3.6, 0.0)
    assert segment.mean_log_probability == pytest.approx(-0.2 * 6 / 7)
    heard(whisper(engine), window(29.9), window(4.0, full_window=True))
    assert engine.encoded[1:] == [(2, 3000)]


def test_sound_is_heard_in_a_room_and_by_the_reference_as_it_is(monkeypatch):
    given = []

    def extract(samples):
        given.append(samples)
        return np.zeros((80, len(samples) // 160 + 1), np.float32)

    model = whisper(Engine(always(*SUN)))
    monkeypatch.setattr(model._model, "feature_extractor", extract)
    for full_window in (False, True):
        model.prepare(Window(np.zeros(SAMPLE_RATE, np.float32), TranscriptionOptions(full_window=full_window)))
    fitted_seconds, full = given
    assert len(fitted_seconds) == 1.5 * SAMPLE_RATE
    assert 0 < np.abs(fitted_seconds[-2000:]).max() < 0.01
    assert len(full) == SAMPLE_RATE
    assert not full.any()


def test_a_window_costs_what_the_network_sees():
    model = whisper(Engine(always(*SUN)))
    assert model.cost(window(4.0)) == 6.0
    assert model.cost(window(29.9)) == 30.0
    assert model.cost(window(4.0, full_window=True)) == 30.0


def test_windows_of_like_length_run_together():
    engine = Engine(always(*SUN))
    passages = heard(whisper(engine), window(4.0), window(4.2), window(3.9))
    assert engine.encoded == [(3, 620)]
    assert engine.generated == [(3, 0.0)]
    assert [texts(result) for result in passages] == [["the sun comes round"]] * 3


def test_who_is_doubted_is_handed_back():
    doubtful = said(0.0, "the sun", 1.0, score=-1.5)
    engine = Engine(lambda frames, prompt, how: said(*SUN) if frames == 620 else doubtful)
    model = whisper(engine)
    sure, rejected = model.run([model.prepare(window(seconds)) for seconds in (4.2, 14.0)], CancellationToken())
    assert texts(sure) == ["the sun comes round"]
    assert isinstance(rejected, Window)
    assert model.cost(rejected) == 30.0
    assert engine.encoded == [(1, 1600), (1, 620)]


def test_rows_of_padding_are_not_paid_for_on_a_cpu_nor_many_on_a_gpu():
    engine = Engine(always(*SUN))
    heard(whisper(engine), window(4.0), window(20.0))
    assert engine.encoded == [(1, 2200), (1, 600)]
    engine = Engine(always(*SUN), device="cuda")
    heard(whisper(engine), window(4.0), window(20.0))
    assert engine.encoded == [(2, 2200)]
    heard(whisper(engine), *(window(4.0) for _ in range(9)), window(28.0))
    assert engine.encoded[1:] == [(2, 3000), (8, 600)]


def test_what_will_not_do_is_drawn_again_and_the_likeliest_taken():
    def answer(frames, prompt, how):
        scores = {0.0: (-2.0, "so it goes"), 0.4: (-1.5, "and so it goes"), 0.8: (-3.0, "corner")}
        score, text = scores[how.get("sampling_temperature", 0.0)]
        return said(0.0, text, 3.8, score=score)

    engine = Engine(answer)
    (result,) = heard(whisper(engine), window(4.0, full_window=True))
    assert [temperature for _, temperature in engine.generated] == [0.0, 0.4, 0.8]
    assert texts(result) == ["and so it goes"]
    assert result.segments[0].temperature == 0.4
    heard(whisper(engine), window(4.0, full_window=True, temperature=0.8))
    assert [temperature for _, temperature in engine.generated[3:]] == [0.8]


def test_prompts_of_one_length_that_begin_elsewhere_are_not_written_together():
    engine = Engine(always("the sun comes round"))
    model = whisper(engine)
    heard(model, window(prefix="the sun comes"), window(prompt="every", prefix="sun"))
    assert [rows for rows, _ in engine.generated] == [1, 1]


def test_what_comes_before_a_text():
    prompts = []

    def answer(frames, prompt, how):
        prompts.append(prompt)
        return said("round a corner")  # the engine gives back what is forced upon it, too

    model = whisper(Engine(answer))
    (result,) = heard(model, window(prompt="every day", hotwords=("sun", "corner"), prefix="round a"))
    start = [IDS[f"<|{mark}|>"] for mark in ("startoftranscript", "en", "transcribe")]
    before, timeless = tokens("sun corner every day"), IDS["<|notimestamps|>"]
    assert prompts == [[IDS["<|startofprev|>"], *before, *start, timeless, *tokens("round a")]]
    assert texts(result) == ["round a corner"]
    heard(model, window(prompt="day " * 300, hotwords=("sun",)), window(task="translate"))
    assert prompts[2] == [IDS["<|startofprev|>"], *tokens("sun " + "day " * 222), *start]
    assert prompts[1] == [*start[:2], IDS["<|translate|>"]]


def test_a_very_short_window_is_transcribed():
    engine = Engine(always(score=-2.0, no_speech=0.9))
    assert [texts(one) for one in heard(whisper(engine), window(1 / SAMPLE_RATE), window(0.0))] == [[], []]


def test_no_step_begins_when_nobody_waits():
    engine = Engine(always(*SUN))
    cancellation = CancellationToken()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        heard(whisper(engine), window(), cancellation=cancellation)
    assert engine.encoded == []


@pytest.mark.parametrize(
    ("said_by_engine", "error"),
    [("CUDA failed with error out of memory", OutOfMemory), ("CUDA failed with error unknown error", EngineCrashed)],
)
def test_errors_of_the_device_are_ours(said_by_engine, error):
    def answer(frames, prompt, how):
        raise RuntimeError(said_by_engine)

    with pytest.raises(error):
        heard(whisper(Engine(answer)), window())


def test_what_cannot_be_done_is_refused():
    model = whisper(Engine(always(*SUN)), translates=False)
    for options, field in (
        (TranscriptionOptions(language="tlh"), "language"),
        (TranscriptionOptions(task="translate"), "task"),
    ):
        with pytest.raises(InvalidArgument) as refused:
            model.check(options)
        assert refused.value.field == field
