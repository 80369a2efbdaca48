"""Clips of a made machine, and little room for what is learned of them."""

import functools

import pytest
from polyphony.speech.v1.anomaly_pb2 import TrainAnomalyDetectorRequest, TrainingClip
from polyphony.type.v1.media_pb2 import Media

from evaluation.sounds import machine, wav
from services.speech.settings import SpeechSettings


@functools.cache
def media(condition, clip, seconds=3.0, **more):
    return Media(inline=wav(machine("motor", 0, condition, clip, seconds=seconds, **more)), mime_type="audio/wav")


def normal(clips, name="pump", **more):
    return TrainAnomalyDetectorRequest(
        name=name, clips=[TrainingClip(audio=media("normal", clip)) for clip in clips], **more
    )


@pytest.fixture
def settings(tmp_path):
    return SpeechSettings(
        profile="fake", home=tmp_path, port=0, metrics_port=0, threads=1, drain_timeout_seconds=1.0,
        max_cached_anomaly_detectors=2, max_training_clips=20, max_anomaly_audio_seconds=40, max_anomaly_classes=3,
        max_anomaly_detectors=3, max_anomaly_detector_versions=2,
    )  # fmt: skip
