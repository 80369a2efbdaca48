"""What Whisper's adapter does around the engine, on an engine that says what it is told to."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from ctranslate2 import StorageView
from faster_whisper import WhisperModel
from faster_whisper.feature_extractor import FeatureExtractor
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordLevel

from servekit.call import Flag
from servekit.errors import Cancelled, EngineGone, InvalidArgument, OutOfMemory, TooLarge
from services.speech.models.whisper import Whisper
from services.speech.ports.transcriber import LISTENING_RATE, Instructions, Window

WORDS = "[UNK] the sun comes round a corner and so it goes every single day".split()  # noqa: SIM905
MARKS = (
    "endoftext startoftranscript en zh translate transcribe startoflm startofprev nospeech notimestamps".split()  # noqa: SIM905
)
SPELT = [f"▁{word}" for word in WORDS] + [f"<|{mark}|>" for mark in MARKS]
IDS = {word: number for number, word in enumerate(SPELT)}
TIME = len(IDS)  # the token of 0.00 s


def at(seconds):
    return TIME + round(seconds * 50)


def tokens(*pieces):
    """Words and times, such as `0.0, "the sun", 1.5`, as tokens."""
    found = []
    for piece in pieces:
        found += [at(piece)] if isinstance(piece, float) else [IDS[f"▁{word}"] for word in piece.split()]
    return found


def said(*pieces, score=-0.2, no_speech=0.01):
    """What the engine hands back."""
    return SimpleNamespace(sequences_ids=[tokens(*pieces)], scores=[score], no_speech_prob=no_speech)


class Engine:
    """Says of each row what `answer(frames, prompt, how)` hands back; keeps what it was asked."""

    is_multilingual = True

    def __init__(self, answer, device="cpu", language=("<|en|>", 0.9)):
        self.answer, self.device, self.language = answer, device, language
        self.encoded, self.generated, self.detected, self.aligned = [], [], 0, 0

    def encode(self, features, to_cpu):
        rows, _, frames = features.shape
        self.encoded.append((rows, frames))
        return StorageView.from_array(np.full((rows, frames // 2, 4), frames, np.float32))

    def generate(self, features, prompts, **how):
        assert features.shape[0] == len(prompts)
        shapes = {(prompt.index(IDS["<|startoftranscript|>"]), len(prompt)) for prompt in prompts}
        assert len(shapes) == 1  # as the real one wants
        self.generated.append((len(prompts), how.get("sampling_temperature", 0.0)))
        return [self.answer(2 * features.shape[1], prompt, how) for prompt in prompts]

    def detect_language(self, features):
        self.detected += 1
        return [[self.language, ("<|zh|>", 0.05)]] * features.shape[0]

    def align(self, features, start, texts, frames, median_filter_width):
        self.aligned += 1
        steps = [[(number, 25 * number) for number in range(len(text) + 1)] for text in texts]  # half a second each
        return [
            SimpleNamespace(alignments=pairs, text_token_probs=[0.8] * len(text))
            for pairs, text in zip(steps, texts, strict=True)
        ]


def whisper(engine, **more):
    tokenizer = Tokenizer(WordLevel(IDS, unk_token="▁[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
    model = WhisperModel.__new__(WhisperModel)
    vars(model).update(
        model=engine, hf_tokenizer=tokenizer, feature_extractor=FeatureExtractor(), input_stride=2,
        frames_per_second=100, tokens_per_second=50, time_precision=0.02, max_length=448,
    )  # fmt: skip
    return Whisper(model, 5, **more)


def window(seconds=4.0, *, prefix="", text="", **instructions):
    samples = np.random.default_rng(0).uniform(-0.1, 0.1, round(seconds * LISTENING_RATE)).astype(np.float32)
    return Window(samples, Instructions(**({"language": "en"} | instructions)), prefix=prefix, text=text)


def heard(model, *windows, flag=None):
    return model.run([model.prepare(one) for one in windows], flag or Flag())


def texts(passage):
    return [segment.text for segment in passage.segments]


def always(*pieces, **more):
    return lambda frames, prompt, how: said(*pieces, **more)


SUN = (0.0, "the sun comes round", 3.6)


def test_the_encoder_sees_what_there_is_and_a_second_more():
    engine = Engine(always(*SUN))
    (passage,) = heard(whisper(engine), window(4.0))
    assert engine.encoded == [(1, 600)]
    assert texts(passage) == ["the sun comes round"]
    segment = passage.segments[0]
    assert (segment.start, segment.end, segment.temperature) == (0.0, 3.6, 0.0)
    assert segment.mean_log_probability == pytest.approx(-0.2 * 6 / 7)
    heard(whisper(engine), window(29.9), window(4.0, full_window=True))
    assert engine.encoded[1:] == [(1, 3000), (1, 3000)]


def test_sound_is_heard_in_a_room_and_by_the_reference_as_it_is(monkeypatch):
    given = []

    def extract(samples):
        given.append(samples)
        return np.zeros((80, len(samples) // 160 + 1), np.float32)

    model = whisper(Engine(always(*SUN)))
    monkeypatch.setattr(model._model, "feature_extractor", extract)
    for full_window in (False, True):
        model.prepare(Window(np.zeros(LISTENING_RATE, np.float32), Instructions(full_window=full_window)))
    fitted, full = given
    assert len(fitted) == 1.5 * LISTENING_RATE
    assert 0 < np.abs(fitted[-2000:]).max() < 0.01
    assert len(full) == LISTENING_RATE
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
    assert [texts(passage) for passage in passages] == [["the sun comes round"]] * 3


def test_rows_of_padding_are_not_paid_for_on_a_cpu():
    engine = Engine(always(*SUN))
    heard(whisper(engine), window(4.0), window(20.0))
    assert engine.encoded == [(1, 2200), (1, 600)]
    engine = Engine(always(*SUN), device="cuda")
    heard(whisper(engine), window(4.0), window(20.0))
    assert engine.encoded == [(2, 2200)]


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
def test_a_doubtful_text_is_heard_again_as_the_reference_hears_it(doubtful):
    engine = Engine(lambda frames, prompt, how: said(*SUN) if frames == 3000 else doubtful)
    sure, passage = heard(whisper(engine), window(14.0), window(4.0))
    assert engine.encoded[-1][1] == 3000
    assert texts(passage) == ["the sun comes round"]
    assert texts(sure) == ["the sun comes round"]


def test_what_will_not_do_is_drawn_again_and_the_likeliest_taken():
    def answer(frames, prompt, how):
        scores = {0.0: (-2.0, "so it goes"), 0.4: (-1.5, "and so it goes"), 0.8: (-3.0, "corner")}
        score, text = scores[how.get("sampling_temperature", 0.0)]
        return said(0.0, text, 3.8, score=score)

    engine = Engine(answer)
    (passage,) = heard(whisper(engine), window(4.0, full_window=True))
    assert [temperature for _, temperature in engine.generated] == [0.0, 0.4, 0.8]
    assert texts(passage) == ["and so it goes"]
    assert passage.segments[0].temperature == 0.4
    heard(whisper(engine), window(4.0, full_window=True, temperature=0.8))
    assert [temperature for _, temperature in engine.generated[3:]] == [0.8]


CIRCLE = said(0.0, "the sun comes round " * 40, score=-0.3)


@pytest.mark.parametrize(
    ("fitted", "full", "kept"),
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
def test_of_a_doubted_text_and_the_one_in_the_full_window_the_better_counts_and_chance_never(fitted, full, kept):
    engine = Engine(lambda frames, prompt, how: full if frames == 3000 else fitted)
    (passage,) = heard(whisper(engine), window(4.0))
    assert texts(passage) == kept
    assert engine.generated == [(1, 0.0), (1, 0.0)]


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
    assert (len(engine.encoded), engine.detected) == (1, 1)
    assert (stated.language, stated.language_probability) == ("en", 1.0)
    assert (unstated.language, unstated.language_probability) == ("en", 0.9)


def test_a_guess_at_the_language_is_made_again_in_the_full_window():
    engine = Engine(always(*SUN), language=("<|zh|>", 0.3))
    (passage,) = heard(whisper(engine), window(4.0, language=""))
    assert engine.encoded == [(1, 600), (1, 3000)]
    assert (passage.language, passage.language_probability) == ("zh", 0.3)


def test_a_guess_is_heard_once_and_nothing_doubtful_is_told():
    engine = Engine(always(*SUN))
    guess = replace(window(4.0, language=""), guess=True)
    assert texts(heard(whisper(engine), guess)[0]) == ["the sun comes round"]
    engine = Engine(always(0.0, "the sun comes round " * 8, 3.6), language=("<|zh|>", 0.3))
    assert texts(heard(whisper(engine), guess)[0]) == []
    assert engine.encoded == [(1, 600)]


def test_neither_a_guess_nor_what_follows_a_prefix_has_timestamps():
    prompts = []

    def answer(frames, prompt, how):
        prompts.append(prompt)
        return said("the sun comes round")

    model = whisper(Engine(answer))
    live = heard(model, replace(window(4.0), guess=True), window(4.0, prefix="the sun"))
    assert [texts(passage) for passage in live] == [["the sun comes round"]] * 2
    start = [IDS[f"<|{mark}|>"] for mark in ("startoftranscript", "en", "transcribe", "notimestamps")]
    assert prompts == [start, [*start, *tokens("the sun")]]


def test_what_follows_a_prefix_is_heard_once():
    engine = Engine(always("the sun comes round"))
    (passage,) = heard(whisper(engine), window(6.0, prefix="the sun", word_times=True))
    assert [word.text for segment in passage.segments for word in segment.words] == ["the", "sun", "comes", "round"]
    assert len(engine.encoded) == 1  # the rest behind the last word is not heard on its own


def test_prompts_of_one_length_that_begin_elsewhere_are_not_written_together():
    engine = Engine(always("the sun comes round"))
    model = whisper(engine)
    heard(model, window(prefix="the sun comes"), window(prompt="every", prefix="sun"))
    assert [rows for rows, _ in engine.generated] == [1, 1]


def test_a_long_guess_is_no_more_doubtful_than_a_short_one():
    words = " ".join(np.random.default_rng(0).choice(WORDS, 60))
    guess = replace(window(11.0), guess=True)
    assert texts(heard(whisper(Engine(always(words))), guess)[0]) == [words]


def test_what_comes_before_a_text():
    prompts = []

    def answer(frames, prompt, how):
        prompts.append(prompt)
        return said("round a corner")  # the engine gives back what is forced upon it, too

    model = whisper(Engine(answer))
    (passage,) = heard(model, window(prompt="every day", hotwords=("sun", "corner"), prefix="round a"))
    start = [IDS[f"<|{mark}|>"] for mark in ("startoftranscript", "en", "transcribe")]
    before, timeless = tokens("sun corner every day"), IDS["<|notimestamps|>"]
    assert prompts == [[IDS["<|startofprev|>"], *before, *start, timeless, *tokens("round a")]]
    assert texts(passage) == ["round a corner"]
    heard(model, window(prompt="day " * 300, hotwords=("sun",)), window(task="translate"))
    assert prompts[2] == [IDS["<|startofprev|>"], *tokens("sun " + "day " * 222), *start]
    assert prompts[1] == [*start[:2], IDS["<|translate|>"]]


def test_a_text_that_ended_early_goes_on():
    engine = Engine(lambda frames, *_: said(0.0, "the sun", 2.0, 2.0) if frames > 800 else said(0.0, "goes", 4.4, 4.4))
    (passage,) = heard(whisper(engine), window(6.1))
    assert [frames for _, frames in engine.encoded] == [810, 610]
    assert [(one.text, one.start, one.end) for one in passage.segments] == [
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
    (passage,) = heard(whisper(Engine(always(*SUN))), window(4.0, word_times=True))
    words = passage.segments[0].words
    assert [word.text for word in words] == ["the", "sun", "comes", "round"]
    assert all(word.probability == pytest.approx(0.8) for word in words)
    assert [word.end for word in words] == sorted(word.end for word in words)
    assert words[-1].end <= 4.0


def test_a_known_text_is_aligned_and_not_written():
    engine = Engine(always(*SUN))
    (passage,) = heard(whisper(engine), window(4.0, text=" every single day "))
    assert engine.generated == []
    (segment,) = passage.segments
    assert segment.text == "every single day"
    assert [word.text for word in segment.words] == ["every", "single", "day"]
    assert segment.mean_log_probability == pytest.approx(np.log(0.8))
    with pytest.raises(TooLarge) as refused:
        whisper(engine).prepare(window(4.0, text="day " * 441))
    assert refused.value.field == "text"


def test_a_moment_of_sound_is_heard():
    engine = Engine(always(score=-2.0, no_speech=0.9))
    assert [texts(one) for one in heard(whisper(engine), window(1 / LISTENING_RATE), window(0.0))] == [[], []]


def test_no_step_begins_when_nobody_waits():
    engine = Engine(always(*SUN))
    flag = Flag()
    flag.set()
    with pytest.raises(Cancelled):
        heard(whisper(engine), window(), flag=flag)
    assert engine.encoded == []


@pytest.mark.parametrize(
    ("said_by_engine", "error"),
    [("CUDA failed with error out of memory", OutOfMemory), ("CUDA failed with error unknown error", EngineGone)],
)
def test_errors_of_the_device_are_ours(said_by_engine, error):
    def answer(frames, prompt, how):
        raise RuntimeError(said_by_engine)

    with pytest.raises(error):
        heard(whisper(Engine(answer)), window())


def test_what_cannot_be_done_is_refused():
    model = whisper(Engine(always(*SUN)), translates=False)
    for instructions, field in ((Instructions(language="tlh"), "language"), (Instructions(task="translate"), "task")):
        with pytest.raises(InvalidArgument) as refused:
            model.check(instructions)
        assert refused.value.field == field
