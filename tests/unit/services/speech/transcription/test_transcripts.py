"""How a recording is to be heard, as its request says it."""

import pytest
from polyphony.speech.v1 import speech_pb2 as pb

from servekit.errors import InvalidArgument
from services.speech.settings import SpeechSettings
from services.speech.transcription.transcripts import instructions_of, sensitivity_of


def test_empty_hot_words_are_none(tmp_path):
    request = pb.TranscribeRequest(hotwords=["", "Hibari", " ", *[""] * 98])
    assert instructions_of(request, SpeechSettings(home=tmp_path)).hotwords == ("Hibari",)


def test_a_threshold_below_which_all_is_speech_is_refused():
    with pytest.raises(InvalidArgument) as caught:
        sensitivity_of(pb.VoiceActivityOptions(threshold=0.001))
    assert caught.value.field == "voice_activity.threshold"
    assert sensitivity_of(pb.VoiceActivityOptions()).threshold == 0.5
    assert sensitivity_of(pb.VoiceActivityOptions(disabled=True)).threshold == 0.0
