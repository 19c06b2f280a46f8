"""Sends what curl would send, from the text of an example: documentation is run, not retyped."""

import shlex
from collections.abc import Mapping
from string import Template

import httpx


def request_of(client: httpx.AsyncClient, example: str, variables: Mapping[str, str]) -> httpx.Request:
    """The request of a ``curl`` example; ``$NAME`` and ``{name}`` are filled in from ``variables``.

    Only what the examples use: ``-X``, ``-H``, ``-d`` and an address. Like curl, a body without a Content-Type
    header is sent as ``application/x-www-form-urlencoded``. Raises KeyError for a variable that is missing.
    """
    filled = Template(example).safe_substitute(variables)
    for name, value in variables.items():
        filled = filled.replace("{" + name + "}", value)
    command, *words = shlex.split(filled.replace("\\\n", " "), comments=False)
    assert command == "curl", example
    method, url, body, headers = "GET", "", None, httpx.Headers()
    arguments = iter(words)
    for word in arguments:
        match word:
            case "-X":
                method = next(arguments)
            case "-H":
                name, _, value = next(arguments).partition(":")
                headers[name] = value.strip()
            case "-d":
                body = next(arguments)
                headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
            case _:
                url = word
    return client.build_request(method, url, headers=headers, content=body)
