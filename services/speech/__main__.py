"""The speech service as a process."""

from servekit.rpc.server import main
from services.speech.service import build
from services.speech.settings import SpeechSettings

if __name__ == "__main__":
    main(SpeechSettings(), build)
