"""The key that `polyphony` shows to a gateway."""

import pytest
from pydantic import SecretStr

from fleet.errors import FleetError
from fleet.settings import FleetSettings


@pytest.mark.parametrize("text", ["secret", "secret\n", " secret\r\n", "\tsecret "])
def test_white_space_around_a_key_goes(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("POLYPHONY_FLEET_API_KEY", text)
    assert FleetSettings().api_key.get_secret_value() == "secret"


@pytest.mark.parametrize("text", ["two\nlines", "bell\x07", "schl\u00fcssel", "\u2018secret\u2019"])
def test_a_key_that_no_header_may_carry_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(FleetError, match="POLYPHONY_FLEET_API_KEY, or --key") as caught:
        FleetSettings(api_key=SecretStr(text))
    assert text not in str(caught.value)


def test_no_key_is_fine() -> None:
    assert FleetSettings(api_key=SecretStr("")).api_key.get_secret_value() == ""
