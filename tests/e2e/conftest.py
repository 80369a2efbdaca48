"""One running fleet of real models, shared by every end-to-end test."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fleet.temporary import TemporaryFleet, new_home, running
from servekit.ops.settings import default_home

if TYPE_CHECKING:
    from openai import OpenAI

QUESTION = "According to the page, what are the markers?"
ON_THE_PAGE = ("pixel", "label", "unambiguous", "background", "object", "histogram", "grey", "extreme", "zero")
"""Words of the page that are not in the question: an answer that has one of them was written by who read the page."""


@pytest.fixture(scope="session")
def fleet() -> Iterator[TemporaryFleet]:
    """The embedded profile. Missing weights fail every test that asks for it; none is skipped."""
    with new_home() as home:
        (home / "models").symlink_to(Path(os.environ.get("POLYPHONY_HOME", default_home())) / "models")
        with running(home) as fleet:
            yield fleet


@pytest.fixture(scope="session")
def client(fleet: TemporaryFleet) -> Iterator["OpenAI"]:
    """The official client, pointed at the fleet."""
    from openai import OpenAI

    with OpenAI(base_url=f"{fleet.address('gateway')}/v1", api_key="none", timeout=120, max_retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def page() -> bytes:
    """A photograph of a printed page about region-based segmentation."""
    import skimage.data

    return (Path(skimage.data.__file__).parent / "page.png").read_bytes()


@pytest.fixture(scope="session")
def question(client: "OpenAI") -> bytes:
    """`QUESTION`, spoken, as WAV."""
    spoken = client.audio.speech.create(model="tts-1", voice="default", input=QUESTION, response_format="wav")
    return spoken.content
