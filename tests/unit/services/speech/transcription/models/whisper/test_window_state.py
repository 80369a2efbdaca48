"""How far a window is heard, and which of its texts count."""

from dataclasses import replace

import numpy as np
import pytest
from faster_whisper.transcribe import get_compression_ratio

from servekit.context import CancellationToken
from servekit.errors import OutOfMemory, TooLarge
from services.speech.transcription.models.whisper.decoding import MAX_COMPRESSION_RATIO, MAX_WRITTEN_TOKENS

from .engine import IDS, SUN, WORDS, Engine, always, heard, said, texts, tokens, whisper, window


@pytest.mark.parametrize(
    "doubtful",
    [
        said(0.0, "the sun", 1.0, score=-1.5),
        said(0.0, "the sun", 1.0, no_speech=0.7),
        said(0.0, "the sun comes round", 1.8, 1.8, "the sun comes round", 3.6),
        said(0.0, "the sun", 2.0, 2.0, "every single day", 17.0),
        said(0.0, "the sun goes every day comes round a corner and so it " * 30),
    ],
    ids=["improbable", "no speech", "said twice", "past the end", "too much"],
)
def test_a_text_of_low_confidence_is_decoded_again_as_by_the_reference(doubtful):
    engine = Engine(lambda frames, prompt, how: said(*SUN) if frames == 3000 else doubtful)
    sure, result = heard(whisper(engine), window(14.0), window(4.0))
    assert engine.encoded[-1][1] == 3000
    assert texts(result) == ["the sun comes round"]
    assert texts(sure) == ["the sun comes round"]


CIRCLE_TEXT = "the sun comes round " * 40
CIRCLE = said(0.0, CIRCLE_TEXT, score=-0.3)


@pytest.mark.parametrize(
    ("fitted_seconds", "full", "kept"),
    [
        (said(0.0, "the sun goes", 3.0, score=-1.3), said(0.0, "every day", 3.0, score=-1.1), ["every day"]),
        (said(0.0, "the sun goes", 3.0, score=-1.3), said(0.0, "every day", 3.0, score=-2.7), ["the sun goes"]),
        (said(0.0, "the sun goes", 3.0, score=-1.3), CIRCLE, ["the sun goes"]),
        (CIRCLE, said(0.0, "and so", 3.0, score=-0.2), ["and so"]),
        (CIRCLE, CIRCLE, ["the sun comes round"]),
        (said(0.0, "so it goes round " * 9, score=-1.2), said(0.0, "a day and so " * 9, score=-1.1), []),
    ],
    ids=["likelier in full", "likelier as it was", "round in full", "round as it was", "round in both", "nonsense"],
)
def test_of_a_doubted_text_and_the_one_in_the_full_window_the_better_counts_and_chance_never(
    fitted_seconds, full, kept
):
    engine = Engine(lambda frames, prompt, how: full if frames == 3000 else fitted_seconds)
    (result,) = heard(whisper(engine), window(4.0))
    assert texts(result) == kept
    assert engine.generated == [(1, 0.0), (1, 0.0)]


def test_a_full_window_is_not_decoded_again():
    engine = Engine(lambda *_: CIRCLE, language=("<|zh|>", 0.3))
    (result,) = heard(whisper(engine), window(28.5, language=""))
    assert texts(result) == ["the sun comes round"]
    assert result.language == "zh"
    assert engine.encoded == [(1, 3000)]


def test_a_window_that_was_padded_in_a_batch_is_not_decoded_again():
    engine = Engine(lambda *_: CIRCLE, device="cuda")
    assert [texts(one) for one in heard(whisper(engine), window(28.5), window(4.0))] == [["the sun comes round"]] * 2
    assert engine.encoded == [(2, 3000)]


def test_a_text_that_was_drawn_is_drawn_again():
    drawn = iter([said(0.0, "every day", 27.0, score=-3.0), said(0.0, "so it goes", 27.0)])
    (result,) = heard(whisper(Engine(lambda *_: next(drawn))), window(28.5, temperature=0.8))
    assert texts(result) == ["so it goes"]


LIST = " ".join(
    f"so it goes {one} every single day {other}" for one, other in zip(WORDS[1:], WORDS[:0:-1], strict=True)
)


# Words that never come round, until there is no token left.
CHATTER = " ".join(np.random.default_rng(0).choice(WORDS[1:], MAX_WRITTEN_TOKENS - 2))


@pytest.mark.parametrize(
    ("text", "kept"), [(LIST, [LIST]), (CIRCLE_TEXT, []), (CHATTER, [])], ids=["a list", "a circle", "chatter"]
)
def test_what_goes_round_may_be_silence_and_what_is_merely_alike_is_not(text, kept):
    assert get_compression_ratio(text) > MAX_COMPRESSION_RATIO
    engine = Engine(always(0.0, text, 28.0, score=-0.1, no_speech=0.9))
    (result,) = heard(whisper(engine), window(28.5))
    assert texts(result) == kept


def test_silence_has_no_text_and_no_language():
    engine = Engine(always(0.0, "the day", 2.0, score=-1.4, no_speech=0.9))
    passages = heard(whisper(engine), window(4.0), window(4.0, language=""))
    assert [(one.language, one.segments) for one in passages] == [("en", ()), ("", ())]
    assert {temperature for _, temperature in engine.generated} == {0.0}  # silence is not tried again


def test_what_may_be_silence_is_written_as_the_reference_does_only_where_that_is_asked_for():
    engine = Engine(always(0.0, "the day", 2.0, score=-0.9, no_speech=0.8))
    ours, reference = heard(whisper(engine), window(4.0), window(4.0, full_window=True))
    assert (texts(ours), texts(reference)) == ([], ["the day"])


def test_a_language_is_detected_on_the_encoding_that_is_decoded():
    engine = Engine(always(*SUN))
    stated, unstated = heard(whisper(engine), window(4.0), window(4.0, language=""))
    assert (len(engine.encoded), engine.set_language) == (1, 1)
    assert (stated.language, stated.language_probability) == ("en", 1.0)
    assert (unstated.language, unstated.language_probability) == ("en", 0.9)


def test_a_guess_at_the_language_is_made_again_in_the_full_window():
    engine = Engine(always(*SUN), language=("<|zh|>", 0.3))
    (result,) = heard(whisper(engine), window(4.0, language=""))
    assert engine.encoded == [(1, 600), (1, 3000)]
    assert (result.language, result.language_probability) == ("zh", 0.3)


def test_an_interim_window_is_decoded_once_and_has_no_text_of_low_confidence():
    engine = Engine(always(*SUN))
    interim = replace(window(4.0, language=""), interim=True)
    assert texts(heard(whisper(engine), interim)[0]) == ["the sun comes round"]
    engine = Engine(always(0.0, "the sun comes round " * 8, 3.6), language=("<|zh|>", 0.3))
    assert texts(heard(whisper(engine), interim)[0]) == []
    assert engine.encoded == [(1, 600)]


def test_neither_a_guess_nor_what_follows_a_prefix_has_timestamps():
    prompts = []

    def answer(frames, prompt, how):
        prompts.append(prompt)
        return said("the sun comes round")

    model = whisper(Engine(answer))
    live = heard(model, replace(window(4.0), interim=True), window(4.0, prefix="the sun"))
    assert [texts(result) for result in live] == [["the sun comes round"]] * 2
    start = [IDS[f"<|{mark}|>"] for mark in ("startoftranscript", "en", "transcribe", "notimestamps")]
    assert prompts == [start, [*start, *tokens("the sun")]]


def test_a_window_with_a_prefix_is_decoded_once():
    engine = Engine(always("the sun comes round"))
    (result,) = heard(whisper(engine), window(6.0, prefix="the sun", word_times=True))
    assert [word.text for segment in result.segments for word in segment.words] == ["the", "sun", "comes", "round"]
    assert len(engine.encoded) == 1  # the rest behind the last word is not heard on its own


def test_a_long_guess_is_no_more_doubtful_than_a_short_one():
    words = " ".join(np.random.default_rng(0).choice(WORDS, 60))
    interim = replace(window(11.0), interim=True)
    assert texts(heard(whisper(Engine(always(words))), interim)[0]) == [words]


def test_a_text_that_ended_early_goes_on():
    engine = Engine(lambda frames, *_: said(0.0, "the sun", 2.0, 2.0) if frames > 800 else said(0.0, "goes", 4.4, 4.4))
    (result,) = heard(whisper(engine), window(6.1))
    assert [frames for _, frames in engine.encoded] == [810, 610]
    assert [(one.text, one.start, one.end) for one in result.segments] == [
        ("the sun", 0.0, 2.0),
        ("goes", 2.0, 6.1),  # never past the end
    ]


def test_a_quiet_rest_is_left_but_by_the_reference():
    early = always(0.0, "the sun comes round", 3.4, 3.4)
    engine = Engine(early)
    heard(whisper(engine), window(4.0))
    assert len(engine.encoded) == 1
    engine = Engine(
        lambda frames, *_: said(0.0, "the sun comes round", 3.4, 3.4) if not engine.generated[1:] else said()
    )
    heard(whisper(engine), window(4.0, full_window=True))
    assert len(engine.encoded) == 2


def test_words_have_their_times():
    (result,) = heard(whisper(Engine(always(*SUN))), window(4.0, word_times=True))
    words = result.segments[0].words
    assert [word.text for word in words] == ["the", "sun", "comes", "round"]
    assert all(word.probability == pytest.approx(0.8) for word in words)
    assert [word.end for word in words] == sorted(word.end for word in words)
    assert words[-1].end <= 4.0


@pytest.mark.parametrize("known", ["", "every single day"])
def test_a_window_that_ran_out_of_memory_is_transcribed_at_the_next_attempt(monkeypatch, known):
    engine, align = Engine(always(*SUN)), Engine.align

    def fail_once(*args, **more):
        monkeypatch.setattr(Engine, "align", align)
        raise RuntimeError("CUDA failed with error out of memory")

    monkeypatch.setattr(Engine, "align", fail_once)
    model = whisper(engine)
    items = [model.prepare(window(seconds, word_times=True, text=known)) for seconds in (4.0, 4.1)]
    with pytest.raises(OutOfMemory):
        model.run(items, CancellationToken())
    passages = [model.run([item], CancellationToken())[0] for item in items]  # as the scheduler tries it
    assert [texts(result) for result in passages] == [[known or "the sun comes round"]] * 2


def test_a_known_text_is_aligned_and_not_written():
    engine = Engine(always(*SUN))
    (result,) = heard(whisper(engine), window(4.0, text=" every single day "))
    assert engine.generated == []
    (segment,) = result.segments
    assert segment.text == "every single day"
    assert [word.text for word in segment.words] == ["every", "single", "day"]
    assert segment.mean_log_probability == pytest.approx(np.log(0.8))
    with pytest.raises(TooLarge) as refused:
        whisper(engine).prepare(window(4.0, text="day " * 441))
    assert refused.value.field == "text"
