"""Whisper's adapter on an engine that says what it is told to."""

from types import SimpleNamespace

import numpy as np
from ctranslate2 import StorageView
from faster_whisper import WhisperModel
from faster_whisper.feature_extractor import FeatureExtractor
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import WordLevel

from servekit.context import CancellationToken
from services.speech.audio import SAMPLE_RATE
from services.speech.transcription import TranscriptionOptions, Window
from services.speech.transcription.models.whisper.whisper import Whisper

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
    for features in pieces:
        found += [at(features)] if isinstance(features, float) else [IDS[f"▁{word}"] for word in features.split()]
    return found


def said(*pieces, score=-0.2, no_speech=0.01):
    """What the engine hands back."""
    return SimpleNamespace(sequences_ids=[tokens(*pieces)], scores=[score], no_speech_prob=no_speech)


class Engine:
    """Says of each row what `answer(frames, prompt, how)` hands back; keeps what it was asked."""

    is_multilingual = True

    def __init__(self, answer, device="cpu", language=("<|en|>", 0.9)):
        self.answer, self.device, self.language = answer, device, language
        self.encoded, self.generated, self.set_language = [], [], 0

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
        self.set_language += 1
        return [[self.language, ("<|zh|>", 0.05)]] * features.shape[0]

    def align(self, features, start, texts, frames, median_filter_width):
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


def window(seconds=4.0, *, prefix="", text="", **options):
    samples = np.random.default_rng(0).uniform(-0.1, 0.1, round(seconds * SAMPLE_RATE)).astype(np.float32)
    return Window(samples, TranscriptionOptions(**({"language": "en"} | options)), prefix=prefix, text=text)


def heard(model, *windows, cancellation=None):
    """Their passages; run again as often as callers would."""
    outcomes = list(windows)
    while waiting := [place for place, outcome in enumerate(outcomes) if isinstance(outcome, Window)]:
        run = model.run([model.prepare(outcomes[place]) for place in waiting], cancellation or CancellationToken())
        for place, outcome in zip(waiting, run, strict=True):
            outcomes[place] = outcome
    return outcomes


def texts(result):
    return [segment.text for segment in result.segments]


def always(*pieces, **more):
    return lambda frames, prompt, how: said(*pieces, **more)


SUN = (0.0, "the sun comes round", 3.6)
