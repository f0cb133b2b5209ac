"""Starts, keeps and stops the whole set: `python -m appliance.ops.stack up`, or `with Stack() as stack`.

    secrets -> inference (loads slowly, so at once) -> PostgreSQL, roles -> Redis -> migrations
            -> sealer, worker, beat, web -> ready
    stopping: web -> worker, beat -> sealer -> inference -> Redis -> PostgreSQL

A part that dies takes the set down, unless tests keep it up to see what the others do.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self, TextIO

from appliance.ops import parts as commands
from appliance.ops.claim import lock_data_dir, require_ports
from appliance.ops.environment import (
    REPOSITORY,
    application_environment,
    is_set,
    maintenance_environment,
    stack_environment,
)
from appliance.ops.local_env import state_file, write_state
from appliance.ops.services.command import Command
from appliance.ops.services.errors import ServiceError
from appliance.ops.services.ports import LOOPBACK, SETTINGS, Ports
from appliance.ops.services.postgres import PostgresServer
from appliance.ops.services.redis import RedisServer
from appliance.ops.services.secrets import SecretFiles
from appliance.ops.supervisor import Supervisor

PARTS = ("postgres", "redis", "inference", "sealer", "worker", "beat", "web")
LEFTOVER_WAIT_S = 15.0  # for the parts of a runner that was killed to be gone


class Stack:
    """The set on one data directory.

    data_dir     None: a temporary one, removed at the end
    ports        None: from the environment; "auto": free ones
    parts        None: all that the environment does not place elsewhere (APPLIANCE_DATABASE_URL and so on)
    processes    name -> argv, instead of the usual command of that part, or as a part of its own
    environment  the site's settings (default: this process's environment)
    migrate      whether to run the migrations, when there is a database to run them on
    say          takes one line for a person
    console      takes what the parts print; the log file gets it anyway
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        ports: Ports | Literal["auto"] | None = None,
        parts: Collection[str] | None = None,
        processes: Mapping[str, Sequence[str]] | None = None,
        environment: Mapping[str, str] | None = None,
        migrate: bool = True,
        say: Callable[[str], None] = print,
        console: TextIO | None = None,
        ready_timeout_s: float = 600.0,
    ) -> None:
        self.site = dict(os.environ if environment is None else environment)
        self._temporary = data_dir is None
        if data_dir is None:
            data_dir = Path(tempfile.mkdtemp(prefix="reading-room-"))
            data_dir.chmod(0o711)  # PostgreSQL's own user passes through, when we are root
        self.data_dir = data_dir.resolve()
        self.ports = Ports.free() if ports == "auto" else ports or Ports.from_environment(self.site)
        self.processes = dict(processes or {})
        self.parts = tuple(self._default_parts() if parts is None else parts)
        self.stopping = False
        self.environment: dict[str, str] = {}
        self.postgres: PostgresServer | None = None
        self.redis: RedisServer | None = None
        self._migrate, self._say, self._console = migrate, say, console
        self._ready_timeout_s = ready_timeout_s
        self._supervisor: Supervisor | None = None
        self._lock: IO[str] | None = None

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the pages."""
        return f"http://{self._web_host()}:{self.ports.web}"

    @property
    def log_file(self) -> Path:
        """What all parts printed."""
        return self.data_dir / "log" / "stack.log"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts every part and returns when the web part reports ready.

        Raises CannotStart before anything was touched, or ServiceError; call stop() after either.
        """
        began = time.monotonic()
        self._lock = lock_data_dir(self.data_dir)
        if "postgres" in self.parts:
            self.postgres = self._new_postgres()
        postmaster = self.postgres.pid() if self.postgres is not None else None
        require_ports(
            {name: getattr(self.ports, name) for name in SETTINGS if name in self.parts},
            web_host=self.site.get("APPLIANCE_HOST", "").strip() or LOOPBACK,
            except_for=() if postmaster is None else ("postgres",),  # left running: it will be taken over
            patient=state_file(self.data_dir).exists(),  # a runner was killed: its parts are going
        )
        SecretFiles(self.data_dir).create_all()
        self._supervisor = Supervisor(self.data_dir / "run", self.data_dir / "log", self._console)
        self.environment = stack_environment(self.data_dir, self.ports, self.site)
        for name in ("inference", "postgres", "redis"):
            if name in self.parts:
                self.start_part(name)
        write_state(self.data_dir, url=self.url, environment=self.environment)
        if self._migrate and ({"worker", "web"} & set(self.parts)):
            self._run_migrations()
        for name in self.parts:
            if name not in ("inference", "postgres", "redis"):
                self.start_part(name)
        if "web" in self.parts:
            self.wait_ready()
            self._say(f"Ready after {time.monotonic() - began:.1f} s at {self.url}")

    def stop(self) -> None:
        """Ends everything in order; returns when nothing is left. Also after a failed start, or twice."""
        self.stopping = True
        if self._supervisor is not None:
            others = [name for name in self.parts if name not in PARTS]
            for names in (["web"], ["worker", "beat", *others], ["sealer"], ["inference"], ["redis"], ["postgres"]):
                self._supervisor.stop(*names)
            self._supervisor.close()
            self._supervisor = None
        if self._lock is not None:
            state_file(self.data_dir).unlink(missing_ok=True)
            self._lock.close()
            self._lock = None
        if self._temporary:
            shutil.rmtree(self.data_dir, ignore_errors=True)

    def force(self) -> None:
        """Kills what does not stop by itself. Safe in a signal handler, while stop() runs."""
        if self._supervisor is not None:
            self._supervisor.force()

    def start_part(self, name: str) -> None:
        """Starts one part; PostgreSQL and Redis are waited for, and PostgreSQL's roles set up."""
        if name == "postgres":
            self.postgres = self.postgres or self._new_postgres()
            self._running.start(name, self.postgres.prepare(take_over=True))
            self._blame_on_failure(name, self.postgres.wait_ready)
            self.postgres.bootstrap()
        elif name == "redis":
            self.redis = RedisServer(self.data_dir, port=self.ports.redis)
            self._running.start(name, self.redis.prepare())
            self._blame_on_failure(name, self.redis.wait_ready)
        else:
            self._running.start(name, self._command(name))

    def stop_part(self, name: str) -> None:
        """Stops one part in an orderly way; the others stay."""
        self._running.stop(name)

    def restart(self, name: str) -> None:
        """Stops the part, if it still runs, and starts it again. After "web", wait_ready()."""
        self.stop_part(name)
        self.start_part(name)

    def kill(self, name: str, signal_number: int = signal.SIGKILL) -> None:
        """A crash: signals the part itself. With SIGKILL returns when it is gone; the others stay."""
        self._running.kill(name, signal_number)

    def pid(self, name: str) -> int:
        """The pid of the part. Raises ServiceError when it does not run."""
        return self._running.pid(name)

    def is_alive(self, name: str) -> bool:
        """Whether the part runs."""
        return self._supervisor is not None and self._supervisor.is_alive(name)

    def wait_ready(self, timeout_s: float | None = None) -> None:
        """Until the web part reports ready. Raises ServiceError when a part ends before, or time runs out."""
        deadline = time.monotonic() + (self._ready_timeout_s if timeout_s is None else timeout_s)
        while True:
            ready, missing = commands.readiness(self._web_host(), self.ports.web)
            if ready:
                return
            self.raise_if_ended()
            if time.monotonic() > deadline:
                raise ServiceError(f"Not ready in time: {missing}. Its log: {self.log_file}")
            time.sleep(0.1)

    def raise_if_ended(self) -> None:
        """Raises ServiceError that says which part ended, and how, when one did."""
        if ended := self._running.ended():
            raise ServiceError(self._running.epitaph(ended[0]))

    def keep(self) -> None:
        """Returns never; raises ServiceError when a part ends."""
        while True:
            self.raise_if_ended()
            time.sleep(0.2)

    def manage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs manage.py with the set's environment, output captured. `check`: ServiceError when it fails."""
        command = Command(argv=(sys.executable, str(REPOSITORY / "manage.py"), *arguments))
        done = subprocess.run(
            command.leashed(self.data_dir / "run" / f"manage-{arguments[0]}.pid"),
            env=maintenance_environment(self.environment),
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode != 0:
            output = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
            raise ServiceError(f"manage.py {' '.join(arguments)} failed with status {done.returncode}:\n{output}")
        return done

    @property
    def _running(self) -> Supervisor:
        if self._supervisor is None:
            raise ServiceError("The set is not started.")
        return self._supervisor

    def _default_parts(self) -> list[str]:
        elsewhere = {"postgres": "DATABASE", "redis": "REDIS", "inference": "INFERENCE"}
        usual = [
            name for name in PARTS if name not in elsewhere or not is_set(self.site, f"APPLIANCE_{elsewhere[name]}_URL")
        ]
        if "postgres" not in usual and not is_set(self.site, "APPLIANCE_DATABASE_SEALER_URL"):
            usual.remove("sealer")  # it runs where its database address and its key are
        return usual + [name for name in self.processes if name not in PARTS]

    def _new_postgres(self) -> PostgresServer:
        return PostgresServer(self.data_dir, port=self.ports.postgres, environment=self.site, say=self._say)

    def _web_host(self) -> str:
        host = self.site.get("APPLIANCE_HOST", "").strip()
        return LOOPBACK if host in ("", "0.0.0.0", "::") else host

    def _command(self, name: str) -> Command:
        if name in self.processes:
            environment = application_environment(self.environment)
            return Command(argv=tuple(self.processes[name]), environment=environment, cwd=REPOSITORY)
        return commands.COMMANDS[name](self.environment)

    def _blame_on_failure(self, name: str, wait: Callable[[Callable[[], bool]], None]) -> None:
        try:
            wait(lambda: self.is_alive(name))
        except ServiceError as error:
            detail = "" if self.is_alive(name) else "\n" + self._running.epitaph(name)
            raise ServiceError(f"{error}{detail}") from None

    def _run_migrations(self) -> None:
        if not is_set(self.environment, "APPLIANCE_DATABASE_OWNER_URL"):
            self._say("Migrations are left out: APPLIANCE_DATABASE_OWNER_URL is not set.")
            return
        self.manage("migrate", "--database", "owner", "--no-input")


if __name__ == "__main__":
    from appliance.ops.stack_cli import main

    sys.exit(main())
