"""A web server on this machine that gives the files of a folder at a steady pace."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PIECE = 1 << 18


class SlowHandler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, bytes_per_second: float, **more: Any) -> None:
        self.bytes_per_second = bytes_per_second
        super().__init__(*arguments, **more)

    def copyfile(self, source: Any, outputfile: Any) -> None:
        begun, sent = time.monotonic(), 0
        while piece := source.read(PIECE):
            outputfile.write(piece)
            sent += len(piece)
            time.sleep(max(0, begun + sent / self.bytes_per_second - time.monotonic()))

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def slow_server(folder: Path, bytes_per_second: float) -> Iterator[str]:
    """Serve a folder for a block; gives the server's URL."""
    handler = partial(SlowHandler, directory=str(folder), bytes_per_second=bytes_per_second)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
