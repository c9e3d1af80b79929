"""Answers a second, and how long one takes, of the server on one core.

    TAXI_FLEET=green .venv/bin/python benchmarks/serving.py [--seconds 10] [--steady 35]

Serves the champion that the environment's MLflow has, as `make serve` does, on a core of its own;
asks on loopback from another. First as fast as the answers come, on eight connections, then a
hundred times a second on as many as it takes, timed from the moment that was planned. Questions
are with and without a time, and hardly any comes twice. Times are only worth comparing within one
run.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections import deque
from collections.abc import Iterator

from measure import PROJECT

CONNECTIONS = 8
RATE = 100


class Connection:
    """A connection that is kept, with one question on it at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, address: str) -> None:
        self._writer.write(f"GET {address} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await self._reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"{address}: {head!r} {body!r}")

    def close(self) -> None:
        self._writer.close()


async def connect(port: int) -> Connection:
    return Connection(*await asyncio.open_connection("127.0.0.1", port))


def new_questions(timed: bool) -> Iterator[str]:
    """Questions in no order; hardly any comes twice."""
    choice = random.Random(time.time_ns())
    while True:
        pair = f"/duration?from={choice.randint(1, 265)}&to={choice.randint(1, 265)}"
        at = f"&at=2023-04-{choice.randint(3, 9):02}T{choice.randint(0, 23):02}:15"
        yield pair + at * timed


async def flood(port: int, questions: Iterator[str], seconds: float) -> tuple[int, float]:
    """Ask as fast as the answers come; the number of answers, and seconds."""
    connections = [await connect(port) for _ in range(CONNECTIONS)]
    start = time.perf_counter()

    async def go_on(connection: Connection) -> int:
        answers = 0
        while time.perf_counter() < start + seconds:
            await connection.ask(next(questions))
            answers += 1
        return answers

    answers = sum(await asyncio.gather(*map(go_on, connections)))
    taken = time.perf_counter() - start
    for connection in connections:
        connection.close()
    return answers, taken


async def drip(port: int, questions: Iterator[str], seconds: float) -> list[float]:
    """Ask at a rate, whether or not answers come; sorted milliseconds to each answer."""
    # Used in turn, so that none is idle for as long as the server keeps it.
    idle = deque([await connect(port) for _ in range(CONNECTIONS)])
    taken = []
    start = time.perf_counter() + 0.1

    async def ask(planned: float) -> None:
        await asyncio.sleep(planned - time.perf_counter())
        connection = idle.popleft() if idle else await connect(port)
        await connection.ask(next(questions))
        taken.append((time.perf_counter() - planned) * 1000)
        idle.append(connection)

    await asyncio.gather(*(ask(start + at / RATE) for at in range(int(seconds * RATE))))
    for connection in idle:
        connection.close()
    return sorted(taken)


def processor_seconds(process: int) -> float:
    """What a process has used so far, itself and for the system."""
    with open(f"/proc/{process}/stat") as file:  # noqa: PTH123
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--steady", type=float, default=35, help="seconds at a hundred a second")
    arguments = parser.parse_args()
    serving, asking, *_ = sorted(os.sched_getaffinity(0)) * 2
    os.sched_setaffinity(0, {asking})
    server = subprocess.Popen(
        [sys.executable, "-m", "taxi_assets", "serve", "--port", "0"],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    os.sched_setaffinity(server.pid, {serving})
    try:
        line = server.stdout.readline()
        if not line:
            raise SystemExit(server.wait())
        print(line.strip())
        port = int(line.split("http://127.0.0.1:")[1].split()[0])
        kinds = {
            "new": new_questions(timed=True),
            "new, no time": new_questions(timed=False),
        }
        for kind, questions in kinds.items():
            asyncio.run(flood(port, questions, 1))
            used = processor_seconds(server.pid)
            answers, seconds = asyncio.run(flood(port, questions, arguments.seconds))
            busy = (processor_seconds(server.pid) - used) / seconds
            print(
                f"{kind:13} {answers / seconds:6,.0f} answers a second; "
                f"{answers / seconds / busy:6,.0f} a second of processor time"
            )
        for kind, questions in kinds.items():
            taken = asyncio.run(drip(port, questions, arguments.steady))
            share = {f"p{of}": taken[len(taken) * of // 100] for of in (50, 99)}
            shown = ", ".join(f"{name} {value:.1f}" for name, value in share.items())
            print(f"{kind:13} at {RATE} a second: {shown}, longest {taken[-1]:.1f} ms")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as health:
            print(f"looked {json.load(health)['seconds_since_look']:.0f} s ago, as every 30 s")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
