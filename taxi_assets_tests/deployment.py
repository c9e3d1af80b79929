"""A team's services in containers: ``deploy/compose.yaml`` itself, by Podman and podman-compose.

No image can be had without a registry; ``containers/`` makes what stands in for them: a Debian of
its own for Python's image, and on it Debian's Postgres and SeaweedFS from PyPI. These are kept in
Podman's store between runs; all else is taken away.
"""

import base64
import json
import os
import re
import secrets
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from taxi_assets_tests.services import PROJECT, answers, free_port

DEPLOY, STAND_INS = PROJECT / "deploy", PROJECT / "taxi_assets_tests/containers"
PODMAN_COMPOSE = Path(sys.executable).with_name("podman-compose")
BASE = "localhost/taxi-assets-base:bookworm"
SECRETS = re.findall(r"^(\w+)=$", (DEPLOY / "secrets.env.example").read_text(), re.MULTILINE)
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
UV = Path("/etc/uv/uv.toml")
ONE_SHOT = ["buckets", "migrate-dagster", "migrate-mlflow"]
SERVICES = [
    *("postgres", "store", "mlflow", "ray-head", "ray-worker"),
    *("code", "daemon", "webserver", "door"),
]
USER = "team"


class Deployment:
    """One deployment's project, folder and variables, and the commands that reach it."""

    def __init__(self, folder: Path, version: str) -> None:
        self.folder = folder
        self.project = f"taxi-{secrets.token_hex(4)}"
        self.environment = {
            **{name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ},
            "CONTAINERS_CONF": str(STAND_INS / "containers.conf"),
            "TAXI_VERSION": version,
            "DAGSTER_PORT": str(free_port()),
            "MLFLOW_PORT": str(free_port()),
            "SERVE_PORT": str(free_port()),
            "SECRETS": str(folder / "secrets.env"),
        }
        self.passwords = {name: secrets.token_hex(24) for name in SECRETS}
        self.write_secrets(folder / "secrets.env", self.passwords)

    @staticmethod
    def write_secrets(path: Path, passwords: Mapping[str, str]) -> None:
        path.touch(mode=0o600)
        path.write_text("".join(f"{name}={value}\n" for name, value in passwords.items()))

    @property
    def dagster(self) -> str:
        """The URL of Dagster's web server."""
        return f"https://localhost:{self.environment['DAGSTER_PORT']}"

    @property
    def mlflow(self) -> str:
        """The URL of MLflow's server."""
        return f"https://localhost:{self.environment['MLFLOW_PORT']}"

    @property
    def predictions(self) -> str:
        """The URL of the service that predicts."""
        return f"https://localhost:{self.environment['SERVE_PORT']}"

    @property
    def certificate(self) -> Path:
        """The certificate that the door has made for itself."""
        return self.folder / "door.crt"

    def log_in(self) -> None:
        """Have urllib and MLflow's client trust the door, and log in."""
        (door,) = self.containers("door")
        there = ("exec", door, "test", "-s", "/tls/door.crt")
        wait_until(lambda: _succeeds(*there), "the door has a certificate", 30)
        self.certificate.write_text(self.run("podman", "exec", door, "cat", "/tls/door.crt"))
        password = self.passwords["DOOR_PASSWORD"]
        trusted = ssl.create_default_context(cafile=str(self.certificate))
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trusted))
        login = base64.b64encode(f"{USER}:{password}".encode()).decode()
        opener.addheaders = [("Authorization", f"Basic {login}")]
        urllib.request.install_opener(opener)
        os.environ |= {
            "MLFLOW_TRACKING_USERNAME": USER,
            "MLFLOW_TRACKING_PASSWORD": password,
            "MLFLOW_TRACKING_SERVER_CERT_PATH": str(self.certificate),
        }

    def compose_command(self, secrets_file: Path | None = None) -> list[str]:
        """What a user would write as ``docker compose``."""
        return [
            *(str(PODMAN_COMPOSE), "--podman-path", str(STAND_INS / "podman"), "--in-pod", "false"),
            *("--project-name", self.project),
            *("--env-file", str(secrets_file or self.folder / "secrets.env")),
            *("--file", str(DEPLOY / "compose.yaml"), "--file", str(STAND_INS / "override.yaml")),
        ]

    def run(self, *command: str | Path, given: str | None = None) -> str:
        """Run a command to its end; return what it prints.

        Raises:
            RuntimeError: it fails; the message has what it printed.
        """
        done = subprocess.run(
            command,
            env=self.environment | {"COMPOSE": " ".join(self.compose_command())},
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{command} fails:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout

    def compose(self, *arguments: str) -> str:
        return self.run(*self.compose_command(), *arguments)

    def containers(self, service: str | None = None) -> list[str]:
        """The ids of the containers, all or those of a service."""
        of = [f"label=io.podman.compose.project={self.project}"]
        if service:
            of.append(f"label=com.docker.compose.service={service}")
        filters = [part for label in of for part in ("--filter", label)]
        return self.run("podman", "ps", "--all", "--quiet", "--no-trunc", *filters).split()

    def look(self, container: str) -> dict[str, Any]:
        """What Podman knows of a container."""
        return dict(json.loads(self.run("podman", "inspect", container))[0])

    def python(self, service: str, program: str) -> str:
        """What a program prints that runs in a service's container."""
        (container, *_) = self.containers(service)
        return self.run("podman", "exec", "-i", container, "python", "-", given=program)

    def unhealthy(self) -> Iterator[str]:
        """The services whose own check fails, or that run once and have not ended well."""
        for service in ONE_SHOT:
            state = self.look(self.containers(service)[0])["State"]
            if (state["Status"], state["ExitCode"]) != ("exited", 0):
                yield service
        for service in SERVICES:
            checks = (("healthcheck", "run", each) for each in self.containers(service))
            if not all(_succeeds(*check) for check in checks):
                yield service

    def is_healthy(self) -> bool:
        """Whether all are healthy; the first that is not is enough, as each check is a process."""
        return next(self.unhealthy(), None) is None

    def up(self, **variables: str) -> None:
        """Bring all up, as changed by variables, and wait until all is healthy.

        Raises:
            TimeoutError: it is not in four minutes; the message has what those print that are not.
        """
        self.environment |= variables
        self.compose("up", "--detach")
        self.log_in()
        try:
            wait_until(lambda: self.is_healthy() and answers(self.dagster), "all is healthy", 240)
        except TimeoutError as error:
            logs = [self.compose("logs", "--tail", "30", service) for service in self.unhealthy()]
            raise TimeoutError("\n".join([str(error), *logs])) from error

    def crash(self, container: str) -> None:
        """Kill a container's first process from outside, as the kernel does when memory ends."""
        os.kill(self.look(container)["State"]["Pid"], signal.SIGKILL)

    def restart(self, service: str) -> None:
        """Restart a service's containers."""
        for container in self.containers(service):
            # One that ends just when Podman is about to kill it is an error to Podman.
            command = ("restart", "--time", "5", container)
            wait_until(lambda c=command: _succeeds(*c), f"{service} is restarted", 60)

    def down(self, *, volumes: bool) -> None:
        """Take containers and networks down, and what is stored only if told to."""
        of = f"label=io.podman.compose.project={self.project}"
        found = self.containers()
        if found:
            _ask_podman("stop", "--time", "10", *found)
            # One that is just being started again by its policy is missed at first.
            wait_until(lambda: _succeeds("rm", "--force", *found), "the containers are gone", 60)
        kinds = ("network", "volume") if volumes else ("network",)
        for kind in kinds:
            listed = self.run("podman", kind, "ls", "--quiet", "--filter", of).split()
            if listed:
                self.run("podman", kind, "rm", "--force", *listed)


def wait_until(holds: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait until something holds.

    Raises:
        TimeoutError: it does not in that time; the message says what.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds:.0f} s it still does not hold that {what}")
        time.sleep(1)


def build(tag: str, dockerfile: Path, *, context: Path, **arguments: str) -> None:
    """Build an image. What leads to packages on this machine is mounted, and stays in no layer."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "uv.toml"
        settings.write_text(UV.read_text() if UV.exists() else "native-tls = true\n")
        mounts = {settings: str(UV), CERTIFICATES: str(CERTIFICATES)}
        mounts |= {p: str(p) for p in (Path("/etc/pip.conf"),) if p.exists()}
        _podman(
            *("build", "--isolation", "chroot", "--network", "host", "--layers"),
            *(f"--volume={here}:{there}:ro" for here, there in mounts.items()),
            *(f"--build-arg={name}={value}" for name, value in arguments.items()),
            *("--file", dockerfile, "--tag", tag, context),
        )


def build_base() -> None:
    """A Debian with Python, in the role of Python's image."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        packages = "--include=python3,python3-venv,ca-certificates"
        subprocess.run(
            ["debootstrap", "--variant=minbase", packages, "bookworm", root],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        (root / "usr/bin/python").symlink_to("python3")
        shutil.rmtree(root / "var/cache/apt")
        archive = Path(folder) / "root.tar"
        subprocess.run(["tar", "--create", "--file", archive, "-C", root, "."], check=True)
        _podman("import", archive, BASE)


def build_stand_ins() -> None:
    """The images that the override names, where they are not there yet."""
    if not _succeeds("image", "exists", BASE):
        build_base()
    compose = (DEPLOY / "compose.yaml").read_text()
    (version,) = re.findall(r"chrislusf/seaweedfs:(\S+)", compose)
    for name in ("postgres", "store"):
        tag = f"localhost/taxi-assets-{name}:bookworm"
        if not _succeeds("image", "exists", tag):
            dockerfile = STAND_INS / f"{name}.Dockerfile"
            build(tag, dockerfile, context=STAND_INS, BASE=BASE, SEAWEEDFS=version)


def _ask_podman(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["podman", *arguments],
        env=os.environ | {"CONTAINERS_CONF": str(STAND_INS / "containers.conf")},
        capture_output=True,
        text=True,
        check=False,
    )


def _succeeds(*arguments: str) -> bool:
    return _ask_podman(*arguments).returncode == 0


def _podman(*arguments: str | Path) -> str:
    done = _ask_podman(*arguments)
    if done.returncode:
        raise RuntimeError(
            f"podman {arguments[0]} fails:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
    return done.stdout


@contextmanager
def deployment(versions: tuple[str, str]) -> Iterator[Deployment]:
    """Images of two versions, and a deployment of the first that is not up yet.

    All of it but the stand-ins is gone after the block, also when it fails.
    """
    build_stand_ins()
    folder = Path(tempfile.mkdtemp(prefix="taxi-"))
    running = Deployment(folder, versions[0])
    present, following = (f"localhost/taxi-assets:{version}" for version in versions)
    doors = [f"localhost/taxi-assets-door:{version}" for version in versions]
    try:
        build(present, DEPLOY / "Dockerfile", context=PROJECT, BASE=BASE)
        build(doors[0], DEPLOY / "door.Dockerfile", context=PROJECT, BASE=BASE)
        _podman("tag", *doors)
        build(following, STAND_INS / "next.Dockerfile", context=STAND_INS, BASE=present)
        yield running
    finally:
        running.down(volumes=True)
        _podman("rmi", "--force", "--ignore", present, following, *doors)
        shutil.rmtree(folder)
