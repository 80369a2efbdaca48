"""A minimal Python gRPC server that returns the bytes of each request: an upper bound of throughput."""

import asyncio
import sys
from typing import Any

import grpc
import uvloop

PATH = "/bench.Echo/Echo"


async def _echo(request: bytes, context: Any) -> bytes:  # noqa: ARG001
    return request


async def _serve(port: int) -> None:
    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(_echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", {"Echo": handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
