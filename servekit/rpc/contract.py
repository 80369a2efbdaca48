"""What is derived from the contract: RPC handlers, default deadlines, retries, and required fields."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

import grpc
from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from servekit.errors import InvalidArgument


def service_config(package: str) -> dict[str, Any]:
    """Read the gRPC service config of a package, such as `polyphony.speech.v1`: deadlines and retries."""
    _, noun, _ = package.split(".")
    source = files(package).joinpath(f"{noun}_service_config.json")
    config: dict[str, Any] = json.loads(source.read_text())
    return config


def timeouts(*services: str) -> dict[str, float]:
    """Return the default timeout of each RPC of the services' packages, in seconds, by its path."""
    return {
        f"/{name['service']}/{name['method']}": float(entry["timeout"].removesuffix("s"))
        for package in {service.rpartition(".")[0] for service in services}
        for entry in service_config(package)["methodConfig"]
        for name in entry["name"]
    }


@cache
def deadline_seconds(rpc: str) -> float:
    """The default deadline of an RPC, `package.Service/Method`.

    Raises:
        KeyError: The contract has no such RPC, or no deadline for it.
    """
    service, _, _ = rpc.partition("/")
    return timeouts(service)[f"/{rpc}"]


def handlers(service: ServiceDescriptor, servicer: object) -> grpc.GenericRpcHandler:
    """Return the handlers of a service, each RPC handled by the servicer's method of the same name."""
    methods = {method.name: _handler(method, getattr(servicer, method.name)) for method in service.methods}
    return grpc.method_handlers_generic_handler(service.full_name, methods)


def _handler(method: MethodDescriptor, behaviour: Any) -> "grpc.RpcMethodHandler[Any, Any]":
    kinds = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    return kinds[method.client_streaming, method.server_streaming](
        behaviour,
        request_deserializer=GetMessageClass(method.input_type).FromString,
        response_serializer=GetMessageClass(method.output_type).SerializeToString,
    )


def check_required(message: Message, path: str = "") -> None:
    """Check the fields that the contract marks REQUIRED, in nested messages too.

    Raises:
        InvalidArgument: One is missing; it is named.
    """
    for field, required in _fields_to_check(message.DESCRIPTOR):
        name = f"{path}{field.name}"
        value = getattr(message, field.name)
        present = message.HasField(field.name) if field.has_presence else bool(value)
        if required and not present:
            raise InvalidArgument(f"{name} is required", field=name)
        if not present or field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            for key in value:
                check_required(value[key], f"{name}[{key}].")
        elif field.is_repeated:
            for index, entry in enumerate(value):
                check_required(entry, f"{name}[{index}].")
        else:
            check_required(value, f"{name}.")


@cache
def _fields_to_check(message: Descriptor) -> tuple[tuple[FieldDescriptor, bool], ...]:
    """Return the fields that are REQUIRED or have REQUIRED fields themselves, each with whether it is REQUIRED."""
    return tuple(
        (field, _is_required(field)) for field in message.fields if _is_required(field) or _leads_to_required(field)
    )


def _is_required(field: FieldDescriptor) -> bool:
    return field_behavior_pb2.REQUIRED in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]


def _leads_to_required(field: FieldDescriptor, above: frozenset[str] = frozenset()) -> bool:
    message = field.message_type
    if message is None or message.full_name in above:
        return False
    if message.GetOptions().map_entry:
        return _leads_to_required(message.fields_by_name["value"], above)
    above |= {message.full_name}
    return any(_is_required(inner) or _leads_to_required(inner, above) for inner in message.fields)
