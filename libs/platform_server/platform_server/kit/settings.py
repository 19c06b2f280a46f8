"""Settings: one frozen Struct a service, read once from ``PLATFORM_*`` variables.

The prefix is there because Kubernetes injects ``DISPATCHER_PORT=tcp://…`` and the like for its services.
"""

from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Struct

PREFIX = "PLATFORM_"

Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(gt=0)]


class ServiceSettings(Struct, frozen=True, kw_only=True):
    """What every service is told. Lists are comma-separated."""

    database_url: str
    redis_url: str
    jwt_secret: Annotated[str, Meta(min_length=32)]
    # ``kid:hex,kid:hex``: the first signs, all are accepted.
    job_token_keys: str
    jwt_issuer: str = "platform"
    jwt_audience: str = "platform-agents"
    listen_host: str = "127.0.0.1"
    listen_port: Port = 8000
    internal_host: str = "127.0.0.1"
    internal_port: Port = 9000
    pool_size: Annotated[int, Meta(ge=1, le=100)] = 8
    # The gateway's networks: only from there is X-Forwarded-For believed.
    trusted_proxies: str = "127.0.0.0/8"
    # Networks that are known to be many agents behind one address: a higher limit of failures to authenticate.
    auth_allow_listed: str = ""
    log_level: str = "info"
    otlp_endpoint: str = ""


class SettingsError(Exception):
    """Names every variable that is missing or wrong."""


Settings = TypeVar("Settings", bound=Struct)


def read(kind: type[Settings], environ: Mapping[str, str]) -> Settings:
    """The settings from the environment. Raises SettingsError that names every bad variable at once."""
    values: dict[str, object] = {}
    wrong: list[str] = []
    for field in msgspec.structs.fields(kind):
        variable = PREFIX + field.name.upper()
        if variable not in environ:
            if field.required:
                wrong.append(f"{variable} is missing")
            continue
        try:
            values[field.name] = msgspec.convert(environ[variable], field.type, strict=False)
        except msgspec.ValidationError as error:
            wrong.append(f"{variable}: {error}")
    if wrong:
        raise SettingsError("; ".join(wrong))
    return kind(**values)


def job_token_keys(text: str) -> dict[str, bytes]:
    """``kid:hex,kid:hex`` as a mapping; its first key signs. Raises SettingsError."""
    try:
        keys = {kid: bytes.fromhex(secret) for kid, _, secret in (part.partition(":") for part in text.split(","))}
    except ValueError as error:
        raise SettingsError(f"{PREFIX}JOB_TOKEN_KEYS: not kid:hex") from error
    if any(not kid or len(secret) < 32 for kid, secret in keys.items()):
        raise SettingsError(f"{PREFIX}JOB_TOKEN_KEYS: each needs a kid and 32 bytes")
    return keys
