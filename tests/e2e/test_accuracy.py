"""How good the speech of the embedded profile is, on a few clips of the evaluation set: a bound, no measurement."""

import json

from evaluation.speech_set import manifest, sound
from evaluation.speech_set.recordings import novel
from evaluation.speech_set.scenes import Scenes
from evaluation.speech_set.voices import Hibari, Voices

CLIPS = ("hibari-question", "hibari-names", "austen-2", "austen-4", "nobody-silence", "nobody-hum", "nobody-short")
MOST = 15.0  # of 100 words wrong; measured: 0 to 5


def test_few_words_are_wrong_and_none_are_invented(fleet, tmp_path):
    scenes = Scenes(Voices(tmp_path, [Hibari()]), [("people", novel)])
    made = [(clip, samples) for clip, samples in scenes.clips() if clip.id in CLIPS]
    for clip, samples in made:
        sound.write(tmp_path / clip.file, samples)
    manifest.write(tmp_path, [clip for clip, _ in made], scenes.missing)

    shown = fleet.run(
        "evaluate", "speech", "--folder", tmp_path, "--only", "transcribe", "--json", tmp_path / "found.json"
    )
    found = json.loads((tmp_path / "found.json").read_text())["transcribe"]
    assert found["failures"] == []
    english, _, nobody = found["tables"]
    row = dict(zip(english["columns"], english["rows"][-1], strict=True))
    assert row["recordings"] == "all English"
    assert row["clips"] == 4
    assert row["WER %, fitted"] < MOST
    assert row["WER %, full"] < MOST
    assert [invented for _, _, *invented in nobody["rows"]] == [[0, 0]] * 3
    assert "all English" in shown
