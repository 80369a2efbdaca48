"""How good the speech of the embedded profile is, on a few clips of the evaluation set: a bound, no measurement."""

import json

import numpy as np

from evaluation.speech_set import manifest, sound
from evaluation.speech_set.manifest import EvaluationClip
from tests.e2e.clips import TEXTS, clip

PEOPLE = ("austen-4", "garden")
MOST = 15.0  # of 100 words wrong; measured: 0


def about(name, samples, text):
    return EvaluationClip(
        id=name,
        text=text,
        language="en" if text else "",
        voices=("somebody",) if text else (),
        condition="clean" if text else "no speech",
        seconds=len(samples) / sound.RATE,
        origin="the canary",
        licence="public domain",
    )


def test_word_error_rates_are_low_and_no_words_are_invented(fleet, tmp_path):
    random = np.random.default_rng(0)
    quiet = {"silence": sound.silence(5), "hum": sound.hum(5, random)}
    made = {name: (clip(name), TEXTS[name]) for name in PEOPLE} | {name: (made, "") for name, made in quiet.items()}
    clips = [about(name, samples, text) for name, (samples, text) in made.items()]
    for one in clips:
        sound.write(tmp_path / one.file, made[one.id][0].astype("f4"))
    manifest.write(tmp_path, clips, [])

    shown = fleet.run(
        "evaluate", "speech", "--folder", tmp_path, "--only", "transcribe", "--json", tmp_path / "found.json"
    )
    found = json.loads((tmp_path / "found.json").read_text())["transcribe"]
    assert found["failures"] == []
    english, _, nobody = found["tables"]
    row = dict(zip(english["columns"], english["rows"][-1], strict=True))
    assert row["recordings"] == "all English"
    assert row["clips"] == len(PEOPLE)
    assert row["WER %, fitted"] < MOST
    assert row["WER %, full"] < MOST
    assert [invented for _, _, *invented in nobody["rows"]] == [[0, 0]] * len(quiet)
    assert "all English" in shown
