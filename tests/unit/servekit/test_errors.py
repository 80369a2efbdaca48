"""Every error survives the wire; what is not ours says nothing."""

import asyncio

import grpc
import pytest

from servekit import errors
from servekit.errors import (
    Internal,
    InvalidArgument,
    Overloaded,
    ServeError,
    TooLarge,
    Unreachable,
    reason,
)
from tests.unit.servekit.conftest import READ, SPEAK, Panic

CLASSES = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, ServeError)]
CLASSES.remove(ServeError)


def test_the_table_has_every_class():
    assert set(errors._CLASSES) == set(CLASSES)


@pytest.mark.parametrize("cls", CLASSES)
def test_a_reason_names_its_class(cls):
    assert errors.by_reason(reason(cls("x"))) is cls
    assert reason(cls("x")).replace("_", "").isupper()


async def test_every_class_travels_with_its_field_and_delay(vision, scripted):
    for cls in CLASSES:

        async def fail(cls=cls):
            raise cls("größer als 3 ¥\n%", field="messages[0].role", retry_after=1.25)

        scripted.read = fail
        with pytest.raises(cls) as caught:
            await vision.ReadText(READ)
        error = caught.value
        assert type(error) is cls
        assert (error.message, error.field, error.retry_after) == ("größer als 3 ¥\n%", "messages[0].role", 1.25)


async def test_an_error_without_field_and_delay_gains_none(vision, scripted):
    async def fail():
        raise Overloaded("full")

    scripted.read = fail
    with pytest.raises(Overloaded) as caught:
        await vision.ReadText(READ)
    assert (caught.value.field, caught.value.retry_after) == ("", None)


async def test_an_error_after_the_first_message_travels_too(synthesis, scripted):
    original = scripted.speak

    async def fail():
        async for response in original():
            yield response
        raise TooLarge("no more", field="text")

    scripted.speak = fail
    responses = synthesis.Synthesize(SPEAK)
    assert (await anext(responses)).chunk == b"1"
    with pytest.raises(TooLarge, match="no more"):
        await anext(responses)


async def test_a_bug_leaks_no_text(vision, scripted, caplog):
    for bug in (ValueError("secret"), asyncio.InvalidStateError("secret"), TimeoutError("secret"), Panic("secret")):

        async def fail(bug=bug):
            raise bug

        scripted.read = fail
        with pytest.raises(Internal, match=r"^internal error$") as caught:
            await vision.ReadText(READ)
        assert "secret" not in str(caught.value.__cause__)
    assert caplog.text.count(": secret") == 4  # the log has it


def of_transport(code, details):
    return errors.from_rpc(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=details))


def test_errors_that_grpc_itself_raises():
    code = grpc.StatusCode
    unreachable = of_transport(code.UNAVAILABLE, "failed to connect to ipv4:10.0.0.7:50051")
    assert type(unreachable) is Unreachable
    assert "10.0.0.7" not in unreachable.message
    assert unreachable.retry_after > 0
    assert type(of_transport(code.CANCELLED, "CANCELLED")) is Unreachable  # a peer that stops, not a caller that left
    assert type(of_transport(code.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 4)")) is TooLarge
    assert type(of_transport(code.RESOURCE_EXHAUSTED, "memory quota")) is Overloaded
    for foreign in (code.UNKNOWN, code.DATA_LOSS, code.INTERNAL):
        error = of_transport(foreign, "Unexpected <class 'ValueError'>: secret")
        assert (type(error), error.message) == (Internal, "internal error")
    assert type(of_transport(code.INVALID_ARGUMENT, "bad")) is InvalidArgument
