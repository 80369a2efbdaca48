import numpy as np
import pytest

from evaluation.speech import metrics
from evaluation.speech.metrics import DiarizationErrors, EditCounts

RANDOM = np.random.default_rng(0)
TONE = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000).astype(np.float32)


def test_numbers_and_contractions_are_made_alike_in_english():
    assert metrics.edits("It's twenty five dollars.", "it is $25", "en") == EditCounts(0, 3)


def test_replaced_left_out_and_added_words_count():
    assert metrics.edits("one small house", "a small red house", "en").edits == 2
    assert metrics.edits("one small house", "", "en").rate == 1.0


def test_chinese_and_japanese_are_counted_by_character():
    assert metrics.edits("会议在广州。", "会议在杭州", "zh") == EditCounts(1, 5)
    assert metrics.edits("雨が降る", "雨がふる", "ja") == EditCounts(1, 4)


def test_what_is_written_where_nothing_is_said_is_all_wrong():
    assert metrics.edits("", "thank you", "en") == EditCounts(2, 0)
    assert metrics.edits("", "thank you", "en").rate == 1.0
    assert metrics.edits("", " ", "en").rate == 0.0


def test_a_rate_pools_its_texts_and_lies_within_its_interval():
    rate = metrics.rate([EditCounts(1, 10), EditCounts(0, 30), EditCounts(2, 10)])
    assert rate.value == pytest.approx(3 / 50)
    assert rate.low < rate.value < rate.high


def test_texts_that_are_all_alike_leave_no_doubt():
    rate = metrics.rate([EditCounts(1, 10)] * 20)
    assert (rate.low, rate.high) == (pytest.approx(0.1), pytest.approx(0.1))


def test_a_difference_is_that_of_the_same_texts():
    first, second = [EditCounts(2, 10), EditCounts(5, 10)], [EditCounts(1, 10), EditCounts(4, 10)]
    difference = metrics.difference(first, second)
    assert (difference.value, difference.low, difference.high) == (pytest.approx(0.1),) * 3


TURNS = [((0.0, 4.0), "ann"), ((4.0, 10.0), "bob")]


def test_names_of_speakers_do_not_matter():
    assert metrics.diarization(TURNS, [((0.0, 4.0), "B"), ((4.0, 10.0), "A")], 12, collar=0).rate == 0


def test_missed_false_alarm_and_confused_seconds_are_counted_separately():
    found = [((0.0, 3.0), "A"), ((4.0, 8.0), "B"), ((8.0, 10.0), "A"), ((10.0, 10.5), "B")]
    marked = metrics.diarization(TURNS, found, 12, collar=0)
    assert marked == DiarizationErrors(missed=1.0, false_alarm=0.5, confused=2.0, total=10.0)
    assert marked.rate == pytest.approx(0.35)


def test_a_collar_forgives_on_either_side_of_a_boundary():
    found = [((0.0, 4.2), "A"), ((4.2, 10.0), "B")]
    assert metrics.diarization(TURNS, found, 12, collar=0).rate == pytest.approx(0.02)
    assert metrics.diarization(TURNS, found, 12, collar=0.25).rate == 0


def test_overlap_can_be_left_out():
    expected = [((0.0, 4.0), "ann"), ((3.0, 6.0), "bob")]
    found = [((0.0, 4.0), "A"), ((4.0, 6.0), "B")]
    assert metrics.diarization(expected, found, 12, collar=0).missed == pytest.approx(1.0)
    assert metrics.diarization(expected, found, 12, collar=0, with_overlap=False).rate == 0


def test_recordings_are_pooled_by_their_seconds():
    assert metrics.pooled([DiarizationErrors(1, 0, 0, 10), DiarizationErrors(0, 0, 2, 20)]).rate == pytest.approx(0.1)


def test_offsets_of_words_are_those_of_both_their_ends():
    found = metrics.offsets([(0.0, 1.0), (1.0, 2.0)], [(0.05, 1.0), (1.0, 2.2)])
    assert found.median_ms == pytest.approx(25)
    assert found.within_100_ms == pytest.approx(0.75)
    assert found.p95_ms > 150


@pytest.mark.parametrize("snr", [0, 10, 20])
def test_si_sdr_is_the_ratio_of_noise_that_has_nothing_of_the_sound_and_scale_does_not_matter(snr):
    noise = RANDOM.normal(size=len(TONE)).astype(np.float32)
    noise -= noise.mean() + TONE * np.dot(noise, TONE) / np.dot(TONE, TONE)
    noise *= np.sqrt(np.mean(TONE**2) / np.mean(noise**2) / 10 ** (snr / 10))
    assert metrics.si_sdr(TONE, 0.3 * (TONE + noise)) == pytest.approx(snr, abs=0.1)


def test_intelligibility_falls_with_noise():
    speech = (TONE * np.repeat(RANDOM.uniform(0, 1, 40), 400)).astype(np.float32)
    noise = RANDOM.normal(size=len(speech)).astype(np.float32)
    quiet, loud = (metrics.stoi(speech, speech + level * noise, 16_000) for level in (0.01, 1.0))
    assert quiet > loud
    assert metrics.stoi(speech, speech, 16_000) == pytest.approx(1.0, abs=0.01)
