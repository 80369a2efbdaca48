"""`python -m services.vision`: the vision service as a process."""

from servekit.rpc.server import main
from services.vision.service import build
from services.vision.settings import VisionSettings

if __name__ == "__main__":
    main(VisionSettings(), build)
