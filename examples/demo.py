"""The demo of `make demo`: one request with a photograph, a spoken question and a document.

The photograph of a page and the words of the document come with scikit-image; the question is
synthesized by the fleet itself. All requests are sent with the `polyphony` command.
"""

import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import skimage.data
from openai import OpenAI

POLYPHONY = Path(sys.executable).with_name("polyphony")
QUESTION = "According to the page, what are the markers? And where do the Greek coins come from?"
SECTION = r"\n\w+\n-+\n"
PICTURES = ("astronaut", "camera", "cat", "coffee", "coins", "moon", "page", "rocket", "text")


def document() -> str:
    """The descriptions of scikit-image's own pictures, without the sections on code and licences."""
    texts = {name: inspect.getdoc(getattr(skimage.data, name)) or "" for name in PICTURES}
    return "\n\n".join(f"{name}: {re.split(SECTION, text)[0].strip()}" for name, text in texts.items())


def gateway() -> str:
    """The URL of the gateway: the one that `polyphony ask` is configured with, or that of the fleet on this machine."""
    if url := os.environ.get("POLYPHONY_FLEET_GATEWAY_URL"):
        return url
    listing = json.loads(subprocess.check_output([POLYPHONY, "status", "--json"]))
    return next(str(row["address"]) for row in listing if row["process"] == "gateway")


def main() -> None:
    """Create the media, then send the request."""
    folder = Path(tempfile.mkdtemp(prefix="polyphony-demo-"))
    page, spoken, text = folder / "page.png", folder / "question.wav", folder / "pictures.txt"
    page.write_bytes((Path(skimage.data.__file__).parent / "page.png").read_bytes())
    text.write_text(document())
    key = os.environ.get("POLYPHONY_FLEET_API_KEY", "none")
    with OpenAI(base_url=f"{gateway()}/v1", api_key=key) as client:
        client.audio.speech.create(model="tts-1", voice="default", input=QUESTION, response_format="wav").write_to_file(
            spoken
        )
    command = ["polyphony", "ask", "--image", page, "--audio", spoken, "--document", text]
    print(f"\n  spoken in {spoken.name}: “{QUESTION}”")
    print(f"\n$ {shlex.join(map(str, command))}\n", flush=True)
    subprocess.run([POLYPHONY, *command[1:]], check=True)
    if "POLYPHONY_FLEET_GATEWAY_URL" not in os.environ:
        print("\nThe fleet goes on running: `polyphony status` shows it, `make down` stops it.")


if __name__ == "__main__":
    main()
