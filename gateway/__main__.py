"""The gateway's process."""

from gateway.build import build
from gateway.settings import GatewaySettings
from servekit.rpc.server import main

if __name__ == "__main__":
    main(GatewaySettings(), build)
