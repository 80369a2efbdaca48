"""TLS: who is let in, what stays open, certificates that are renewed, and when they end."""

import asyncio
import shutil
from datetime import UTC, datetime

import grpc
import pytest
import trustme
from polyphony.speech.v1 import synthesis_pb2, synthesis_pb2_grpc
from polyphony.vision.v1 import vision_pb2_grpc
from pydantic import ValidationError

from servekit.errors import FailedPrecondition, Unreachable
from servekit.ops.settings import ProcessSettings
from servekit.ops.telemetry import Telemetry
from servekit.ops.tls import Certificates, expiry
from servekit.rpc.client import connect
from tests.unit.servekit.conftest import READ, SERVING, SPEAK, SYNTHESIS, VISION, until_health_is

NO_PEM = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----"


async def read_through(server, settings):
    channel = connect(f"127.0.0.1:{server.port}", "polyphony.vision.v1", settings)
    try:
        return (await vision_pb2_grpc.VisionServiceStub(channel).ReadText(READ)).width
    finally:
        await channel.close()


def only(tls, *names):
    return {name: path if name in names else None for name, path in tls.items()}


async def test_tls_hides_all_but_health(serve, scripted, settings, certificates):
    tls = certificates()
    server = await serve(settings.model_copy(update=only(tls, "tls_certificate_file", "tls_key_file")), scripted.build)
    assert await read_through(server, settings.model_copy(update=only(tls, "tls_ca_file"))) == 1
    with pytest.raises(Unreachable):
        await read_through(server, settings)  # plaintext to a TLS port
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.health_port}") as channel:
        await until_health_is(channel, SERVING)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await vision_pb2_grpc.VisionServiceStub(channel).ReadText(READ)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_mutual_tls_refuses_whom_the_authority_did_not_sign(serve, scripted, settings, certificates, tmp_path):
    tls = certificates()
    server = await serve(settings.model_copy(update=tls), scripted.build)
    assert await read_through(server, settings.model_copy(update=tls)) == 1
    with pytest.raises(Unreachable):
        await read_through(server, settings.model_copy(update=only(tls, "tls_ca_file")))
    stranger = trustme.CA().issue_cert("127.0.0.1")
    stranger.private_key_pem.write_to_path(str(tmp_path / "stranger.key"))
    stranger.cert_chain_pems[0].write_to_path(str(tmp_path / "stranger.pem"))
    his = {**tls, "tls_certificate_file": tmp_path / "stranger.pem", "tls_key_file": tmp_path / "stranger.key"}
    with pytest.raises(Unreachable):
        await read_through(server, settings.model_copy(update=his))


async def test_renewed_certificates_are_taken_up_without_an_end_to_running_calls(
    serve, dial, scripted, settings, certificates, tmp_path, monkeypatch
):
    monkeypatch.setattr("servekit.rpc.client.CERTIFICATE_CHECK_SECONDS", 0.0)
    renewed = asyncio.Event()

    async def speak():
        yield synthesis_pb2.SynthesizeResponse(chunk=b"1")
        await renewed.wait()
        yield synthesis_pb2.SynthesizeResponse(chunk=b"2")

    scripted.speak = speak
    mine = settings.model_copy(update={**certificates(), "max_connection_age_seconds": 0.3})
    server = await serve(mine, scripted.build)
    old = {name: shutil.copy(path, tmp_path / f"old-{path.name}") for name, path in certificates.paths.items()}
    vision = vision_pb2_grpc.VisionServiceStub(dial(server, VISION, mine))
    channel = dial(server, SYNTHESIS, mine)
    synthesis = synthesis_pb2_grpc.SynthesisServiceStub(channel)
    chunks = synthesis.Synthesize(SPEAK)
    assert (await anext(chunks)).chunk == b"1"
    assert (await vision.ReadText(READ)).width == 1

    certificates()  # by another authority
    assert (await vision.ReadText(READ)).width == 1
    with pytest.raises(Unreachable):
        await read_through(server, settings.model_copy(update=old))
    another = synthesis.Synthesize(SPEAK)  # its channel is opened anew, too
    assert (await anext(another)).chunk == b"1"
    renewed.set()
    assert [(await anext(each)).chunk for each in (chunks, another)] == [b"2", b"2"]
    await asyncio.sleep(0.5)
    assert (await vision.ReadText(READ)).width == 1  # over a connection made since
    certificates.paths["tls_key_file"].unlink()
    assert (await vision.ReadText(READ)).width == 1  # a file that is away for a moment changes nothing


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (["tls_certificate_file"], "tls_key_file, tls_ca_file"),
        (["tls_ca_file"], "tls_certificate_file, tls_key_file"),
        (["tls_certificate_file", "tls_key_file"], "tls_ca_file"),
    ],
)
def test_half_a_tls_is_refused(tmp_path, given, missing):
    with pytest.raises(ValidationError, match=f"not set: {missing} "):
        ProcessSettings(**{name: tmp_path / name for name in given})


def test_a_file_that_is_not_there_is_named(certificates):
    tls = certificates()
    tls["tls_key_file"].unlink()
    with pytest.raises(FailedPrecondition, match=str(tls["tls_key_file"])):
        Certificates(*tls.values())


@pytest.mark.parametrize("year", [1999, 2035, 2061])  # the last is beyond what the shorter of the two forms can say
@pytest.mark.parametrize("key", list(trustme.KeyType))
def test_the_end_of_a_chains_first_certificate_is_known(tmp_path, settings, year, key):
    ends = datetime(year, 2, 3, 4, 5, 6, tzinfo=UTC)
    authority = trustme.CA(key_type=key).create_child_ca()
    issued = authority.issue_cert("vision", key_type=key, not_before=datetime(1998, 1, 1, tzinfo=UTC), not_after=ends)
    chain = tmp_path / "chain.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    assert expiry(chain) == ends.timestamp()
    telemetry = Telemetry(settings.model_copy(update={"tls_certificate_file": chain, "tls_key_file": chain}))
    assert (
        telemetry.registry.get_sample_value("polyphony_tls_certificate_expiration_timestamp_seconds")
        == ends.timestamp()
    )


@pytest.mark.parametrize("text", [None, "", "not a certificate", NO_PEM])
def test_what_is_no_certificate_has_ended(tmp_path, text):
    path = tmp_path / "chain.pem"
    if text is not None:
        path.write_text(text)
    assert expiry(path) == 0


def test_a_key_of_another_certificate_and_an_authority_that_is_none_are_named(certificates, tmp_path):
    tls = certificates()
    (tmp_path / "other.key").write_bytes(trustme.CA().issue_cert("vision").private_key_pem.bytes())
    with pytest.raises(FailedPrecondition, match=r"other\.key must be the private key of the certificate"):
        Certificates(tls["tls_certificate_file"], tmp_path / "other.key", tls["tls_ca_file"])
    with pytest.raises(FailedPrecondition, match=r"other\.key must be a PEM certificate"):
        Certificates(tls["tls_certificate_file"], tls["tls_key_file"], tmp_path / "other.key")
