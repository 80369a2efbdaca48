"""Writes the set to a folder."""

from pathlib import Path

from rich.console import Console
from rich.progress import track

from evaluation.speech_set import manifest, recordings, sound, voices
from evaluation.speech_set.scenes import Scenes
from evaluation.speech_set.voices import VoiceSet


def make(folder: Path, console: Console) -> manifest.Manifest:
    """Write every clip and the manifest to a folder; synthesized speech is cached."""
    cache = folder / "spoken"
    cache.mkdir(parents=True, exist_ok=True)
    scenes, clips = Scenes(VoiceSet(cache, voices.known(cache)), recordings.known(cache)), []
    for clip, samples in track(scenes.clips(), "making", console=console, transient=True):
        sound.write(folder / clip.file, samples)
        clips.append(clip)
    manifest.write(folder, clips, scenes.missing)
    return manifest.read(folder)
