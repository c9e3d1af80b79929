"""A web server that plays a CDN on its bad days."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread


@dataclass
class Script:
    """What the server does with each request in turn; the last step goes on for ever.

    Attributes:
        steps: called with the request's handler.
        asked: the ``Range`` header of every GET so far, None where it had none.
        conditions: likewise the ``If-Range`` headers.
        head: the status of every answer to HEAD.
        heads: how many of these there were.
        released: set when the test is over, so that a stalled answer ends.
    """

    steps: tuple[Callable[["Handler"], None], ...]
    asked: list[str | None] = field(default_factory=list)
    conditions: list[str | None] = field(default_factory=list)
    released: Event = field(default_factory=Event)
    url: str = ""
    head: int = 501
    heads: int = 0


class Handler(BaseHTTPRequestHandler):
    def __init__(self, script: Script, *args: object) -> None:
        self.script = script
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        number = len(self.script.asked)
        self.script.asked.append(self.headers["Range"])
        self.script.conditions.append(self.headers["If-Range"])
        self.script.steps[min(number, len(self.script.steps) - 1)](self)

    def do_HEAD(self) -> None:
        self.script.heads += 1
        self.send_error(self.script.head)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving(*steps: Callable[[Handler], None]) -> Iterator[Script]:
    script = Script(steps)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, script)) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        script.url = f"http://127.0.0.1:{server.server_port}/trip-data"
        try:
            yield script
        finally:
            script.released.set()
            server.shutdown()
            thread.join()


def status(code: int, **headers: str) -> Callable[[Handler], None]:
    """Answer with a status and an empty body."""

    def answer(request: Handler) -> None:
        request.send_response(code)
        for name, value in {"Content-Length": "0", **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()

    return answer


def file(
    content: bytes,
    *,
    etag: str | None = '"one"',
    changed: str | None = None,
    ranges: bool = True,
    cut_after: int | None = None,
    stall_after: int | None = None,
    announced: int | None = None,
    part: int | None = None,
) -> Callable[[Handler], None]:
    """Answer with a file, or with what the request asks of it.

    Args:
        content: the whole file.
        etag: its ETag, if the server tells one.
        changed: its time of change, if the server tells it.
        ranges: whether ``Range`` is heeded.
        cut_after: bytes of the body after which the connection ends.
        stall_after: bytes of the body after which nothing more comes.
        announced: the ``Content-Length``, if it is not the body's.
        part: bytes of the range that is asked for which the answer has at most.
    """

    def answer(request: Handler) -> None:
        start, asked = 0, request.headers["Range"]
        if asked and ranges and request.headers["If-Range"] in (None, etag, changed):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        body = content[start:][:part]
        end = f"{start + len(body) - 1}/{len(content)}"
        headers = {
            "Content-Length": str(len(body) if announced is None else announced),
            "Content-Range": f"bytes {start}-{end}" if start else None,
            "ETag": etag,
            "Last-Modified": changed,
        }
        request.send_response(206 if start else 200)
        for name, value in headers.items():
            if value is not None:
                request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body[: cut_after if stall_after is None else stall_after])
        request.wfile.flush()
        if stall_after is not None:
            request.script.released.wait(30)
        request.close_connection = True

    return answer
