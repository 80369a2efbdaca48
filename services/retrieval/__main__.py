"""`python -m services.retrieval`: the retrieval service as a process."""

from servekit.rpc.server import main
from services.retrieval.service import build
from services.retrieval.settings import RetrievalSettings

if __name__ == "__main__":
    main(RetrievalSettings(), build)
