"""The whole platform on one machine: real Postgres, Redis and Envoy, the five services, and agents."""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from platform_ops import gateway, migrate
from platform_ops.tokens import bootstrap_token
from platform_stack import engines, running, tokens
from platform_stack.processes import Process, StartError, accepts, free_port

BIN = Path(sys.executable).parent
ENVOY_TEMPLATE = Path(__file__).parents[2] / "gateway" / "envoy.yaml"
# Service by cluster name, and the command that runs it.
COMMANDS = {
    "registration": "platform-registration",
    "job_intake": "platform-job-intake",
    "dispatcher": "platform-dispatcher",
    "agent_health": "platform-agent-health",
    "queue_maintenance": "platform-queue-maintenance",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How a stack is to be made. ``settings`` go to every service: {"ACK_DEADLINE_SECONDS": "5"}."""

    folder: Path
    port: int
    scanners: Path
    agents: int = 2
    replicas: int = 1
    settings: Mapping[str, str] = field(default_factory=dict)
    postgres: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Service:
    """One replica."""

    process: Process
    port: int
    internal_port: int


class Stack:
    """Start it, use it, stop it. Everything it starts ends with it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.logs = plan.folder / "logs"
        self.workspace = plan.folder / "workspace"
        for folder in (plan.folder, self.logs, self.workspace):
            folder.mkdir(parents=True, exist_ok=True)
        self.secrets = tokens.Secrets.of(plan.folder)
        self.gateway = f"http://127.0.0.1:{plan.port}"
        self.postgres = engines.Postgres(plan.folder / "postgres", free_port(), settings=plan.postgres)
        self.redis = engines.Redis(self.logs, free_port())
        self.services: dict[str, list[Service]] = {}
        self.agents: list[Process] = []
        self.envoy: engines.Envoy | None = None
        self._cleanup = ExitStack()

    @property
    def database(self) -> str:
        return self.postgres.dsn("platform")

    def start(self) -> None:
        """Everything, in order, each ready before the next. Raises StartError; what had started is stopped."""
        try:
            self._cleanup.enter_context(running.claimed(self.plan.folder))
            self._refuse_taken_port()
            self._start_engines()
            for name in COMMANDS:
                self.services[name] = [self._service(name, n) for n in range(self.plan.replicas)]
            for replicas in self.services.values():
                for service in replicas:
                    self.wait_ready(service)
            self._start_gateway()
            if self.plan.agents:
                self._start_agents()
            self._tell()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Everything, in the opposite order."""
        self._cleanup.close()

    def restart(self, name: str, replica: int = 0) -> Service:
        """Start a replica again, on the ports that it had."""
        old = self.services[name][replica]
        old.process.stop()
        service = self._service(name, replica, ports=(old.port, old.internal_port))
        self.services[name][replica] = service
        self.wait_ready(service)
        return service

    def wait_ready(self, service: Service) -> None:
        address = f"http://127.0.0.1:{service.internal_port}/readyz"

        def ready() -> bool:
            try:
                return httpx.get(address, timeout=2).status_code == 200
            except httpx.HTTPError:
                return False

        service.process.wait_until(ready)

    def start_agent(
        self, name: str, *, token: str, scanners: Path, settings: Mapping[str, str] | None = None
    ) -> Process:
        """A real agent that registers with a bootstrap token."""
        folder = self.plan.folder / "agents" / name
        folder.mkdir(parents=True, exist_ok=True)
        env = _environment() | {
            "EXPLOOP_API_URL": self.gateway,
            "REDIVER_BOOTSTRAP_TOKEN": token,
            "AGENT_NAME": name,
            "AGENT_REGION": "local",
            "AGENT_STATE_DIR": str(folder),
            "AGENT_WORKSPACE": str(self.workspace),
            "AGENT_SCANNERS_DIR": str(scanners),
            "AGENT_MAX_CONCURRENT": "2",
            **(settings or {}),
        }
        process = Process(name, [BIN / "exploop-agent", "--platform"], log=self.logs / f"{name}.log", env=env)
        process.start()
        self._cleanup.callback(process.stop)
        self.agents.append(process)
        return process

    def bootstrap_token(self, *, uses: int = 1) -> str:
        """Through the API, as an administrator would."""
        return bootstrap_token(self.gateway, self.secrets.jwt, description="agents of the local stack", uses=uses)

    def ended(self) -> list[Process]:
        """Which processes are gone, though nobody stopped them."""
        return [process for process in self._processes().values() if not process.running]

    def _refuse_taken_port(self) -> None:
        """Envoy shares a port with another Envoy without a word, and each gets half of the requests."""
        if accepts(self.plan.port):
            raise StartError(f"port {self.plan.port} is in use: choose another with STACK_PORT")

    def _start_engines(self) -> None:
        self.postgres.start()
        self._cleanup.callback(self.postgres.stop)
        self.redis.start()
        self._cleanup.callback(self.redis.stop)
        engines.create_database(self.postgres, "platform")
        migrate.up(self.database)

    def _service(self, name: str, number: int, *, ports: tuple[int, int] | None = None) -> Service:
        port, internal = ports or (free_port(), free_port())
        env = _environment() | {
            "PLATFORM_DATABASE_URL": self.database,
            "PLATFORM_REDIS_URL": self.redis.url,
            "PLATFORM_GATEWAY_HEALTH_URL": f"{self.gateway}/healthz",
            "PLATFORM_JWT_SECRET": self.secrets.jwt,
            "PLATFORM_JOB_TOKEN_KEYS": self.secrets.job_token_keys,
            "PLATFORM_LISTEN_PORT": str(port),
            "PLATFORM_INTERNAL_PORT": str(internal),
            **{f"PLATFORM_{key}": value for key, value in self.plan.settings.items()},
        }
        log = self.logs / f"{name}-{number + 1}.log"
        process = Process(name, [BIN / COMMANDS[name]], log=log, env=env)
        process.start()
        self._cleanup.callback(process.stop)
        return Service(process, port, internal)

    def _start_gateway(self) -> None:
        config = self.plan.folder / "envoy.yaml"
        endpoints = {
            name: [gateway.Endpoint("127.0.0.1", service.port) for service in self.services[name]]
            for name in gateway.SERVICES
        }
        listen = gateway.Endpoint("127.0.0.1", self.plan.port)
        config.write_text(gateway.render(ENVOY_TEMPLATE, endpoints, listen=listen, admin_port=free_port()))
        self.envoy = engines.Envoy(config, self.plan.port, log=self.logs / "gateway.log")
        self.envoy.start()
        self._cleanup.callback(self.envoy.stop)

    def _start_agents(self) -> None:
        install_scanners(self.plan.scanners, log=self.logs / "scanners.log")
        token = self.bootstrap_token(uses=self.plan.agents)
        for n in range(self.plan.agents):
            self.start_agent(f"local-agent-{n + 1}", token=token, scanners=self.plan.scanners)
        for agent in self.agents:
            agent.wait_until(self._agents_online)

    def _agents_online(self) -> bool:
        answer = httpx.get(
            f"{self.gateway}/api/v1/admin/platform-agents",
            params={"status": "online", "limit": 200},
            headers={"Authorization": f"Bearer {tokens.admin_token(self.secrets)}"},
        )
        online = {agent["name"] for agent in answer.json()["agents"]} if answer.is_success else set()
        return online >= {agent.name for agent in self.agents}

    def _processes(self) -> dict[str, Process]:
        engines_of_ours = [self.postgres.process, self.redis.process, self.envoy.process if self.envoy else None]
        alone = {process.name: process for process in (*engines_of_ours, *self.agents) if process is not None}
        return alone | {name: service.process for name, service in self._replicas().items()}

    def _replicas(self) -> dict[str, Service]:
        return {f"{name}-{n + 1}": service for name, many in self.services.items() for n, service in enumerate(many)}

    def _tell(self) -> None:
        known = running.Known(
            pid=os.getpid(),
            gateway=self.gateway,
            database=self.database,
            redis=self.redis.url,
            workspace=str(self.workspace),
            processes={name: process.pid for name, process in self._processes().items()},
            internal={name: service.internal_port for name, service in self._replicas().items()},
        )
        running.tell(self.plan.folder, known)


def install_scanners(folder: Path, *, log: Path, names: tuple[str, ...] = ("bandit", "semgrep")) -> None:
    """Each scanner into an environment of its own, unless it is there. Raises subprocess.CalledProcessError."""
    with log.open("ab") as out:
        subprocess.run(
            [BIN / "exploop-agent", "install-scanners", "--dir", folder, *names],
            check=True,
            stdout=out,
            stderr=subprocess.STDOUT,
        )


def _environment() -> dict[str, str]:
    """What a process of ours needs of this one's environment; nothing else leaks in."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
