"""Builds the speech evaluation set: `python -m evaluation.speech_set FOLDER`."""

import argparse
from collections import Counter
from pathlib import Path

from rich.console import Console

from evaluation.speech_set.maker import make


def main() -> None:
    """Build the set and print its content."""
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
