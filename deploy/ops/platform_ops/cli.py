"""platform-ops: migrate, gateway-config, token, bootstrap-token; in the image and beside it.

PLATFORM_DATABASE_URL, PLATFORM_JWT_SECRET and PLATFORM_GATEWAY_URL tell which platform, GATEWAY_* where services are.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

import httpx

from platform_core.domain.plans import PLANS
from platform_ops import gateway, migrate, tokens


class UsageError(Exception):
    """Something the caller can mend; the text says how."""


def main() -> None:
    arguments = _parser().parse_args()
    try:
        _tell(arguments.run(arguments), arguments.out)
    except (UsageError, gateway.BadEnvironment, migrate.Unmigrated, httpx.HTTPError) as error:
        print(f"platform-ops: {error}", file=sys.stderr)
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="platform-ops", description=__doc__)
    parser.set_defaults(out=None)
    commands = parser.add_subparsers(required=True)
    migration = commands.add_parser("migrate", help="the schema of PLATFORM_DATABASE_URL")
    migration.add_argument("direction", choices=["up", "down", "status", "wait"])
    migration.set_defaults(run=lambda told: migrate.carry_out(told.direction, _told("PLATFORM_DATABASE_URL")))
    config = commands.add_parser("gateway-config", help="print Envoy's configuration, from GATEWAY_*")
    config.add_argument("template", type=Path, help="deploy/gateway/envoy.yaml")
    _may_write(config)
    config.set_defaults(run=lambda told: gateway.render_for(told.template, os.environ))
    token = commands.add_parser("token", help="print a JWT of 24 hours, and nothing else")
    whose = token.add_mutually_exclusive_group(required=True)
    whose.add_argument("--admin", action="store_true")
    whose.add_argument("--tenant", metavar="NAME", help="create or update this tenant")
    token.add_argument("--plan", default="free", choices=list(PLANS))
    token.add_argument("--sample", type=Path, help="a project to lay into the tenant's workspace, as 'sample'")
    token.add_argument("--workspace", type=Path, help="the agents' AGENT_WORKSPACE")
    token.set_defaults(run=print_token)
    bootstrap = commands.add_parser("bootstrap-token", help="print a token that agents register with, and nothing else")
    bootstrap.add_argument("--uses", type=int, default=1)
    bootstrap.add_argument("--hours", type=int, default=24)
    _may_write(bootstrap)
    bootstrap.set_defaults(run=print_bootstrap_token)
    return parser


def _may_write(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="write it there instead, for our own user only")


def _tell(text: str, out: Path | None) -> None:
    if out is None:
        print(text)
        return
    out.unlink(missing_ok=True)
    out.touch(mode=0o600)
    out.write_text(text, encoding="utf-8")


def print_token(told: argparse.Namespace) -> str:
    secret = _told("PLATFORM_JWT_SECRET")
    if told.admin:
        return tokens.admin_token(secret)
    tenant = tokens.make_tenant(_told("PLATFORM_GATEWAY_URL"), secret, name=told.tenant, plan=told.plan)
    if told.sample is not None:
        if told.workspace is None:
            raise UsageError("--sample needs --workspace")
        shutil.copytree(told.sample, told.workspace / str(tenant) / "sample", dirs_exist_ok=True)
    return tokens.tenant_token(secret, tenant)


def print_bootstrap_token(told: argparse.Namespace) -> str:
    return tokens.bootstrap_token(
        _told("PLATFORM_GATEWAY_URL"),
        _told("PLATFORM_JWT_SECRET"),
        description="made by platform-ops",
        uses=told.uses,
        hours=told.hours,
    )


def _told(variable: str) -> str:
    if variable not in os.environ:
        raise UsageError(f"{variable} is missing")
    return os.environ[variable]
