"""A team's services, all on this machine and on loopback only, as ``deploy/`` has them on many.

Postgres, an object store (moto), MLflow's server, Ray, and Dagster's code server, daemon and web
server. Every process is started with a mark in its environment, and ended by its id.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import yaml

from taxi_assets_tests.webserver import has_assets

PROJECT = Path(__file__).parents[1]
PROGRAMS = Path(sys.executable).parent
MARK = "TAXI_ASSETS_SERVICES"
BUCKETS = ("trips", "models")
POSTGRES_USER = "postgres"
RAY_HEAD, *RAY_WORKERS = "127.0.0.2", "127.0.0.3", "127.0.0.4"
"""Hosts, as far as Ray can see; 127.0.0.1 it would take for an address of the network."""

PATIENCE = 120
"""Seconds in which a service must answer."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except (urllib.error.URLError, OSError):
        return False
    return True


def accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


class Services:
    """What has been started, where it answers, and the variables that lead clients there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {
            **{name: os.environ[name] for name in ("HOME",) if name in os.environ},
            # A Ray job starts `dagster` from the path.
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            MARK: secrets.token_hex(8),
            "PYTHONUNBUFFERED": "1",
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "MLFLOW_DISABLE_TELEMETRY": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    def start(
        self,
        name: str,
        *command: object,
        ready: Callable[[], bool] | None = None,
        user: str | None = None,
        **variables: str,
    ) -> subprocess.Popen[bytes]:
        """Start a process, and wait until it is ready; what it prints goes to ``name.txt``."""
        with (self.folder / f"{name}.txt").open("ab") as log:
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=self.folder,
                env=self.environment | variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=user,
                extra_groups=[] if user else None,
            )
        self.processes[name] = process
        print(f"started {name}, process {process.pid}", flush=True)
        deadline = time.monotonic() + PATIENCE
        while ready is not None and not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} does not come up:\n{self.log(name)}")
            time.sleep(0.2)
        return process

    def log(self, name: str) -> str:
        """The end of what a process has printed."""
        return (self.folder / f"{name}.txt").read_text(errors="replace")[-5_000:]

    def run(self, *command: object, user: str | None = None, **variables: str) -> str:
        """Run a command of these services to its end."""
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self.folder,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            check=False,
            user=user,
            extra_groups=[] if user else None,
        )
        if done.returncode:
            raise RuntimeError(f"{command} fails:\n{done.stdout}{done.stderr}")
        return done.stdout

    def stop(self) -> None:
        """End every process that bears the mark, the last that was started first."""
        for process in reversed(self.processes.values()):
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
        left = list(self.marked())
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)
        for process in self.processes.values():
            process.wait(10)

    def marked(self) -> Iterator[psutil.Process]:
        """The processes that these services consist of now."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == self.environment[MARK]:
                    yield process


@contextmanager
def services() -> Iterator[Services]:
    """Nothing but a folder yet; all that is started in the block is stopped after it."""
    # Postgres does not run as root, nor in a folder that its user cannot reach; Ray's sockets
    # need a short path.
    folder = Path(tempfile.mkdtemp(prefix="taxi-", dir="/tmp"))
    folder.chmod(0o755)
    running = Services(folder)
    try:
        yield running
    finally:
        running.stop()
        left = list(running.marked())
        shutil.rmtree(folder, ignore_errors=True)
        print(f"stopped; {len(left)} processes left", flush=True)
        assert not left


def start_postgres(services: Services, databases: Sequence[str]) -> None:
    """Postgres with a password, its port known to this machine only."""
    programs = _postgres_programs()
    user = POSTGRES_USER if os.geteuid() == 0 else None
    folder, port = services.folder / "postgres", free_port()
    password, password_file = secrets.token_hex(16), services.folder / "password"
    folder.mkdir(mode=0o700)
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    if user:
        shutil.chown(folder, user)
        shutil.chown(password_file, user)
    services.run(
        programs / "initdb", "-D", folder, "-U", "taxi", "--auth", "scram-sha-256",
        "--encoding", "UTF8", "--pwfile", password_file, user=user,
    )  # fmt: skip
    services.environment |= {
        "DAGSTER_POSTGRES_HOST": "127.0.0.1",
        "DAGSTER_POSTGRES_PORT": str(port),
        "DAGSTER_POSTGRES_USER": "taxi",
        "DAGSTER_POSTGRES_PASSWORD": password,
        "DAGSTER_POSTGRES_DB": databases[0],
    }
    services.start(
        "postgres", programs / "postgres", "-D", folder, "-p", port,
        "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}",
        ready=lambda: accepts(port), user=user,
    )  # fmt: skip
    for database in databases:
        services.run(
            programs / "createdb", "-h", "127.0.0.1", "-p", port, "-U", "taxi", database,
            PGPASSWORD=password,
        )  # fmt: skip


def _postgres_programs() -> Path:
    """The folder of Postgres' programs; Debian keeps them off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        raise RuntimeError("Postgres is not installed: apt-get install postgresql")
    return found[-1].parent if found else Path(str(on_path)).parent


def start_object_store(services: Services) -> None:
    """An S3 server with empty buckets."""
    import boto3

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    services.environment |= {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "taxi",
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16),
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    services.start(
        "object_store", PROGRAMS / "moto_server", "-H", "127.0.0.1", "-p", port,
        ready=lambda: answers(f"{url}/moto-api/"),
    )  # fmt: skip
    client = boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=services.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=services.environment["AWS_SECRET_ACCESS_KEY"],
        region_name=services.environment["AWS_DEFAULT_REGION"],
    )
    for bucket in BUCKETS:
        client.create_bucket(Bucket=bucket)


def start_mlflow(services: Services, database: str) -> str:
    """MLflow's server on Postgres and the object store; return its URL."""
    variables = services.environment
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    login = f"{variables['DAGSTER_POSTGRES_USER']}:{variables['DAGSTER_POSTGRES_PASSWORD']}"
    place = f"127.0.0.1:{variables['DAGSTER_POSTGRES_PORT']}/{database}"
    services.start(
        "mlflow", PROGRAMS / "mlflow", "server", "--host", "127.0.0.1", "--port", port,
        "--workers", 1, "--artifacts-destination", "s3://models",
        ready=lambda: answers(f"{url}/health"),
        MLFLOW_BACKEND_STORE_URI=f"postgresql+psycopg2://{login}@{place}",
    )  # fmt: skip
    services.environment["MLFLOW_TRACKING_URI"] = url
    return url


def start_ray(services: Services) -> None:
    """A head, which is a node with a core for a job, and where others can join."""
    if " " in str(PROGRAMS):
        raise RuntimeError(f"Ray does not work from a path with a space: {PROGRAMS}")
    gcs, dashboard = free_port(), free_port()
    services.environment |= {
        "RAY_ADDRESS": f"{RAY_HEAD}:{gcs}",
        "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}",
    }
    _start_ray_node(
        services, "ray_head", RAY_HEAD, "--head", "--port", gcs,
        "--dashboard-host", "127.0.0.1", "--dashboard-port", dashboard,
        "--ray-client-server-port", free_port(), "--temp-dir", services.folder / "ray",
        ready=lambda: answers(f"http://127.0.0.1:{dashboard}/api/version"),
    )  # fmt: skip


def start_ray_worker(services: Services) -> str:
    """Another node with a core; return its name."""
    number = sum(name.startswith("ray_worker") for name in services.processes)
    name, head = f"ray_worker_{number + 1}", services.environment["RAY_ADDRESS"]
    _start_ray_node(services, name, RAY_WORKERS[number], "--address", head)
    return name


def _start_ray_node(
    services: Services,
    name: str,
    address: str,
    *options: object,
    ready: Callable[[], bool] | None = None,
) -> None:
    services.start(
        name, PROGRAMS / "ray", "start", "--block", "--node-ip-address", address,
        "--num-cpus", 1, "--memory", 4_000_000_000, "--object-store-memory", 100_000_000,
        "--dashboard-agent-listen-port", free_port(), "--disable-usage-stats", *options,
        ready=ready,
    )  # fmt: skip


def limit_pool(services: Services, fleet: str, runs: int) -> None:
    """Let so many runs of a fleet go on at a time."""
    services.run(PROGRAMS / "dagster", "instance", "concurrency", "set", fleet, runs)


def start_dagster(services: Services, **settings: object) -> str:
    """Code server, daemon and web server on ``deploy/``'s instance; return the last one's URL.

    Args:
        services: those that the instance relies on.
        settings: dotted keys of ``dagster.yaml`` to set to other values.
    """
    home, code, web = services.folder / "dagster", free_port(), free_port()
    home.mkdir()
    instance = yaml.safe_load((PROJECT / "deploy/dagster.yaml").read_text())
    for key, value in settings.items():
        *sections, last = key.split(".")
        part = instance
        for section in sections:
            part = part[section]
        part[last] = value
    (home / "dagster.yaml").write_text(yaml.safe_dump(instance))
    shutil.copy(PROJECT / "deploy/workspace.yaml", home)
    services.environment |= {
        "DAGSTER_HOME": str(home),
        "DAGSTER_CODE_HOST": "127.0.0.1",
        "DAGSTER_CODE_PORT": str(code),
    }
    # Each makes its tables in Postgres where there are none, and not side by side.
    services.run(PROGRAMS / "dagster", "instance", "migrate")
    limit_pool(services, "synthetic", 1)
    services.start(
        "code", PROGRAMS / "dagster", "code-server", "start", "-m", "taxi_assets.definitions",
        "-h", "127.0.0.1", "-p", code, ready=lambda: accepts(code),
    )  # fmt: skip
    workspace = ("-w", home / "workspace.yaml")
    services.start("daemon", PROGRAMS / "dagster-daemon", "run", *workspace)
    services.start(
        "webserver", PROGRAMS / "dagster-webserver", "-h", "127.0.0.1", "-p", web, *workspace,
        ready=lambda: has_assets(f"http://127.0.0.1:{web}"),
    )  # fmt: skip
    return f"http://127.0.0.1:{web}"
