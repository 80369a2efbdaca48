"""Certificates: when they end."""

from datetime import UTC, datetime

import pytest
import trustme

from servekit.telemetry import Telemetry
from servekit.tls import expiry


@pytest.mark.parametrize("year", [1999, 2035, 2061])  # the last is beyond what the shorter of the two forms can say
@pytest.mark.parametrize("key", list(trustme.KeyType))
def test_the_end_of_a_chains_first_certificate_is_known(tmp_path, settings, year, key):
    ends = datetime(year, 2, 3, 4, 5, 6, tzinfo=UTC)
    authority = trustme.CA(key_type=key).create_child_ca()
    issued = authority.issue_cert("vision", key_type=key, not_before=datetime(1998, 1, 1, tzinfo=UTC), not_after=ends)
    chain = tmp_path / "chain.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    assert expiry(chain) == ends.timestamp()
    telemetry = Telemetry(settings.model_copy(update={"tls_certificate": chain, "tls_key": chain}))
    assert telemetry.registry.get_sample_value("polyphony_tls_expiry_timestamp_seconds") == ends.timestamp()


@pytest.mark.parametrize(
    "text", [None, "", "not a certificate", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----"]
)
def test_what_is_no_certificate_has_ended(tmp_path, text):
    path = tmp_path / "chain.pem"
    if text is not None:
        path.write_text(text)
    assert expiry(path) == 0
