"""Settings come from PLATFORM_* variables, read once, all errors at once."""

from typing import Any

import pytest

from platform_server.kit import settings
from platform_server.kit.settings import ServiceSettings, SettingsError

GOOD = {
    "PLATFORM_DATABASE_URL": "postgresql://localhost/platform",
    "PLATFORM_REDIS_URL": "redis://localhost/0",
    "PLATFORM_JWT_SECRET": "s" * 32,
    "PLATFORM_JOB_TOKEN_KEYS": f"k1:{'0' * 64}",
}


def read(**changed: str) -> ServiceSettings:
    return settings.read(ServiceSettings, {**GOOD, **changed})


def test_defaults_and_what_is_set() -> None:
    told = read(PLATFORM_POOL_SIZE="3", PLATFORM_LISTEN_PORT="8123")
    assert (told.database_url, told.pool_size, told.listen_port) == (GOOD["PLATFORM_DATABASE_URL"], 3, 8123)
    assert (told.jwt_issuer, told.jwt_audience, told.log_level) == ("platform", "platform-agents", "info")


def test_what_kubernetes_injects_is_not_ours() -> None:
    assert read(DISPATCHER_PORT="tcp://10.0.0.1:8000", LISTEN_PORT="1", POOL_SIZE="x").listen_port == 8000


def test_every_missing_and_wrong_variable_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        settings.read(ServiceSettings, {"PLATFORM_POOL_SIZE": "0", "PLATFORM_JWT_SECRET": "short"})
    told = str(refused.value)
    for variable in (*GOOD, "PLATFORM_POOL_SIZE"):
        assert variable in told


def test_a_secret_that_is_too_short_is_not_told() -> None:
    with pytest.raises(SettingsError) as refused:
        read(PLATFORM_JWT_SECRET="hunter2")
    assert "hunter2" not in str(refused.value)


def test_settings_cannot_be_changed() -> None:
    told: Any = read()
    with pytest.raises(AttributeError):
        told.pool_size = 1


def test_the_first_job_token_key_signs() -> None:
    keys = settings.job_token_keys(f"new:{'1' * 64},old:{'0' * 64}")
    assert list(keys.items()) == [("new", b"\x11" * 32), ("old", b"\x00" * 32)]


@pytest.mark.parametrize("text", ["", "k1", "k1:", ":" + "0" * 64, "k1:xyz", "k1:" + "0" * 62, f"k1:{'0' * 64},"])
def test_job_token_keys_that_are_none(text: str) -> None:
    with pytest.raises(SettingsError, match="PLATFORM_JOB_TOKEN_KEYS"):
        settings.job_token_keys(text)
