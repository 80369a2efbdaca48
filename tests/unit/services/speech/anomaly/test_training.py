"""Training on features with known labels, and the reported accuracy."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from evaluation.sounds import machine
from servekit.context import CancellationToken
from servekit.errors import Cancelled, FailedPrecondition, InvalidArgument
from services.speech.anomaly.detectors import AnomalyScorer, SoundClassifier, dump, parse
from services.speech.anomaly.features import FEATURES, FORMAT, SHAPE, extract_features
from services.speech.anomaly.training import train_classifier, train_scorer


@pytest.fixture(autouse=True)
def _one_thread():
    """As the service fits."""
    with threadpool_limits(limits=1):
        yield


random = np.random.default_rng(0)
MIXING = random.standard_normal((FEATURES, FEATURES)) / np.sqrt(FEATURES)


def clips(count, shift=0.0, segments=6, seed=0):
    """Correlated normal features; a shift is by so many deviations, in a tenth of them."""
    drawn = np.random.default_rng(seed).standard_normal((count, segments, FEATURES)) @ MIXING
    drawn[:, :, ::10] += shift
    return list(drawn.astype(np.float32))


def score(model, clip):
    return model.whole(model.scores(clip))


def test_what_is_normal_scores_about_one_and_what_is_not_scores_more():
    model = train_scorer(clips(60), 0.05, CancellationToken())
    normal = [score(model, clip) for clip in clips(200, seed=1)]
    odd = [score(model, clip) for clip in clips(50, 3.0, seed=2)]
    assert 0.6 < np.median(normal) < 1.8
    assert min(odd) > model.threshold


@pytest.mark.parametrize("decibels", [-20, -12, 12])
def test_a_machine_nearer_by_or_farther_away_is_no_other(decibels):
    def heard(condition, clip, decibels=0.0):
        samples = machine("pump", 1, condition, clip, seconds=3) * 10 ** (decibels / 20)
        return extract_features([samples.astype(np.float32)], CancellationToken()).features

    model = train_scorer([heard("normal", clip) for clip in range(7)], 0.01, CancellationToken())
    there = score(model, heard("normal", 8, decibels))
    assert there == pytest.approx(score(model, heard("normal", 8)), abs=0.03)
    assert there < model.threshold < score(model, heard("whine", 0, decibels))


@pytest.mark.parametrize(("count", "rate"), [(8, 0.05), (40, 0.2)])
def test_new_normal_clips_are_called_anomalous_at_the_rate_that_was_asked_for(count, rate):
    """Over many fits: the threshold comes of clips that were held out, so it is not too low for new ones."""
    alarms = []
    for seed in range(6):
        model = train_scorer(clips(count, seed=100 + seed), rate, CancellationToken())
        alarms += [score(model, clip) >= model.threshold for clip in clips(60, seed=200 + seed)]
    assert np.mean(alarms) <= rate + 0.04
    if count > 20:
        assert np.mean(alarms) >= rate / 10


def test_features_that_never_change_do_no_harm():
    same = [np.ones((6, FEATURES), np.float32) for _ in range(6)]
    with pytest.raises(InvalidArgument, match="must not be silent"):
        train_scorer(same, 0.01, CancellationToken())
    for clip, found in zip(same, clips(6), strict=True):
        clip[:, 0] = found[:6, 0]
    model = train_scorer(same, 0.01, CancellationToken())
    assert np.isfinite(model.threshold)
    assert np.isfinite(score(model, clips(1)[0]))
    assert score(model, clips(1)[0]) > model.threshold


def test_the_classifier_is_evaluated_on_held_out_clips():
    known = [*clips(10), *clips(6, 2.0, seed=1), *clips(4, -2.0, seed=2)]
    labels = ["normal"] * 10 + ["knocking"] * 6 + ["alarm"] * 4
    model, macro_f1 = train_classifier(known, labels, CancellationToken())
    assert model.labels == ("alarm", "knocking", "normal")
    assert macro_f1 > 0.8
    new = model.probabilities(clips(1, 2.0, seed=3)[0])
    assert new.sum(axis=1) == pytest.approx(1.0)
    assert model.labels[new.mean(axis=0).argmax()] == "knocking"


def test_meaningless_labels_have_a_low_macro_f1():
    labels = ["a", "b"] * 15
    _, macro_f1 = train_classifier(clips(30), labels, CancellationToken())
    assert macro_f1 < 0.75


def test_two_classes_and_too_few_clips_to_tell_how_well():
    model, macro_f1 = train_classifier([*clips(2), *clips(2, 3.0, seed=1)], ["x", "x", "y", "y"], CancellationToken())
    assert macro_f1 is None
    assert model.labels[model.probabilities(clips(1, 3.0, seed=2)[0]).mean(axis=0).argmax()] == "y"
    assert model.labels[model.probabilities(clips(1, seed=3)[0]).mean(axis=0).argmax()] == "x"


def test_probabilities_are_those_of_the_library():
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    for names in (["x", "y"], ["x", "y", "z"]):
        known = [clip for number, _ in enumerate(names) for clip in clips(5, float(number), seed=number)]
        labels = [name for name in names for _ in range(5)]
        model, _ = train_classifier(known, labels, CancellationToken())
        features = np.concatenate(known).astype(np.float64)
        scaled = ((features - features.mean(axis=0)) / features.std(axis=0))[:, -SHAPE:]
        theirs = LinearDiscriminantAnalysis(
            solver="lsqr", shrinkage="auto", priors=np.full(len(names), 1 / len(names))
        ).fit(scaled, np.repeat(labels, 6))
        np.testing.assert_allclose(
            model.probabilities(features.astype(np.float32)), theirs.predict_proba(scaled), atol=1e-3
        )


@pytest.mark.parametrize(
    "fit",
    [
        lambda cancellation: train_scorer(clips(6), 0.01, cancellation),
        lambda cancellation: train_classifier(clips(6), ["a", "b"] * 3, cancellation),
    ],
)
def test_nobody_waits_any_more(fit):
    cancellation = CancellationToken()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        fit(cancellation)


DEFAULT_VAD_OPTIONS = AnomalyScorer(np.zeros(FEATURES, np.float32), np.eye(FEATURES, dtype=np.float32), 1.5)
CLASSES = SoundClassifier(("ok", "Übel"), np.ones((SHAPE, 2), np.float32), np.zeros(2, np.float32))


def test_an_artefact_holds_what_was_learned_and_each_is_its_own():
    kept = parse(dump(DEFAULT_VAD_OPTIONS))
    assert isinstance(kept, AnomalyScorer)
    assert kept.threshold == 1.5
    np.testing.assert_array_equal(kept.whitening, DEFAULT_VAD_OPTIONS.whitening)
    assert parse(dump(CLASSES)).labels == ("ok", "Übel")
    drawn = np.random.default_rng(1).standard_normal((2, FEATURES, FEATURES)).astype(np.float32)
    for matrix in (drawn[0], drawn[0].T, np.asfortranarray(drawn[1]), drawn[1][:, ::2]):
        again = parse(dump(AnomalyScorer(DEFAULT_VAD_OPTIONS.mean, matrix, 1.0)))
        np.testing.assert_array_equal(again.whitening, matrix)
    assert dump(DEFAULT_VAD_OPTIONS) != dump(DEFAULT_VAD_OPTIONS)


def damaged():
    data = dump(DEFAULT_VAD_OPTIONS)
    yield b""
    yield b"not an artefact at all"
    yield data[: len(data) // 2]
    yield b"\xff" * 8 + data[8:]
    yield data.replace(b'"threshold"', b'"thresholt"')
    yield data.replace(b'"1.5"', b'"nan"')
    yield dump(AnomalyScorer(np.full(FEATURES, np.nan, np.float32), DEFAULT_VAD_OPTIONS.whitening, 1.0))
    yield dump(AnomalyScorer(np.zeros(3, np.float32), DEFAULT_VAD_OPTIONS.whitening, 1.0))
    yield dump(AnomalyScorer(DEFAULT_VAD_OPTIONS.mean, DEFAULT_VAD_OPTIONS.whitening.astype(np.float64), 1.0))
    yield dump(SoundClassifier(("one",), CLASSES.weights, CLASSES.bias))


@pytest.mark.parametrize("data", list(damaged()))
def test_a_damaged_artefact_is_refused(data):
    with pytest.raises(FailedPrecondition, match="damaged"):
        parse(data)


def test_an_artefact_of_another_release_is_refused():
    data = dump(CLASSES).replace(FORMAT.encode(), b"x" * len(FORMAT))
    with pytest.raises(FailedPrecondition, match=f"reads '{FORMAT}': fit it again"):
        parse(data)
