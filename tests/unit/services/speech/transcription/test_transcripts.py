"""How a recording is to be heard, as its request says it."""

import pytest
from polyphony.speech.v1 import transcription_pb2 as pb

from servekit.errors import InvalidArgument
from services.speech.settings import SpeechSettings
from services.speech.transcription.transcripts import shared_options, transcription_options, vad_options_of


@pytest.mark.parametrize("kind", [pb.TranscribeRequest, pb.StreamingConfig])
def test_empty_hot_words_are_none(kind, tmp_path):
    request = kind(hotwords=["", "Hibari", " ", *[""] * 98])
    assert shared_options(request, SpeechSettings(home=tmp_path)).hotwords == ("Hibari",)


def test_a_request_of_no_known_task_is_refused(tmp_path):
    with pytest.raises(InvalidArgument) as caught:
        transcription_options(pb.TranscribeRequest(task=7), SpeechSettings(home=tmp_path))
    assert caught.value.field == "task"


def test_a_threshold_below_which_all_is_speech_is_refused():
    with pytest.raises(InvalidArgument) as caught:
        vad_options_of(pb.VoiceActivityOptions(threshold=0.001))
    assert caught.value.field == "voice_activity.threshold"
    assert vad_options_of(pb.VoiceActivityOptions()).threshold == 0.5
    assert vad_options_of(pb.VoiceActivityOptions(disabled=True)).threshold == 0.0
