"""Makes the evaluation set of speech: `python -m evaluation.speech_set FOLDER`."""

import argparse
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.progress import track

from evaluation.speech_set import manifest, recordings, sound, voices
from evaluation.speech_set.scenes import Scenes
from evaluation.speech_set.voices import Voices


def make(folder: Path, console: Console) -> manifest.Manifest:
    """Write every clip and the manifest into a folder; what was spoken before is not spoken again."""
    cache = folder / "spoken"
    cache.mkdir(parents=True, exist_ok=True)
    scenes, clips = Scenes(Voices(cache, voices.known(cache)), recordings.known(cache)), []
    for clip, samples in track(scenes.clips(), "making", console=console, transient=True):
        sound.write(folder / clip.file, samples)
        clips.append(clip)
    manifest.write(folder, clips, scenes.missing)
    return manifest.read(folder)


def main() -> None:
    """Make the set and say what it holds."""
    parser = argparse.ArgumentParser(description="Makes the evaluation set of speech.")
    parser.add_argument("folder", type=Path, help="where its files go, about 110 MB")
    console = Console(stderr=True)
    made = make(parser.parse_args().folder, console)
    seconds = sum(clip.seconds for clip in made.clips)
    speakers = {voice for clip in made.clips for voice in clip.voices}
    console.print(f"{len(made.clips)} clips, {seconds / 60:.1f} minutes, {len(speakers)} voices", highlight=False)
    for condition, count in Counter(clip.condition for clip in made.clips).items():
        console.print(f"  {condition:<16}{count}", highlight=False)
    for lack in made.missing:
        console.print(f"left out: {lack}", style="yellow", highlight=False)


if __name__ == "__main__":
    main()
