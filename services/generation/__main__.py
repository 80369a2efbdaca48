"""`python -m services.generation`: the generation service as a process."""

from servekit.rpc.server import main
from services.generation.service import build
from services.generation.settings import GenerationSettings

if __name__ == "__main__":
    main(GenerationSettings(), build)
