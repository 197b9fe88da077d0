"""A small HTTP proxy: python proxy.py PORT HOST:PORT. It passes GET on, and says that it did."""

from __future__ import annotations

import http.client
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Proxy(BaseHTTPRequestHandler):
    """Each request is a new one to the server behind; a server that does not answer is status 502."""

    upstream = ("", 0)

    def do_GET(self) -> None:
        """Ask the server, and pass its answer on."""
        try:
            status, body = self._ask()
        except OSError as problem:
            status, body = 502, f"{problem}\n".encode()
        self.send_response(status)
        self.send_header("Via", "1.1 sample-proxy")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _ask(self) -> tuple[int, bytes]:
        host, port = self.upstream
        server = http.client.HTTPConnection(host, port, timeout=60)
        server.request("GET", self.path, headers={"X-Forwarded-For": self.client_address[0]})
        answer = server.getresponse()
        return answer.status, answer.read()


def main(port: str, upstream: str) -> None:
    """Serve until killed."""
    host, _, number = upstream.rpartition(":")
    Proxy.upstream = (host, int(number))
    ThreadingHTTPServer(("0.0.0.0", int(port)), Proxy).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
