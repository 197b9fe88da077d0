"""A program: Python's http.server with one page, on port 80 of the namespace it runs in.

It prints a line when it listens, and ends when its standard input does, which is when whoever
started it ends, `kill -9` included.
"""

from __future__ import annotations

import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 80


class Page(BaseHTTPRequestHandler):
    """Answers every GET with the same words and the client's address."""

    def do_GET(self) -> None:
        """Send the page."""
        text = f"<h1>Hello from ns1</h1> <p>You come from {self.client_address[0]}.</p>\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: the demo shows what was answered."""


class Server(ThreadingHTTPServer):
    """Without HTTPServer's look at the DNS for its own name, which isn't there to be asked."""

    server_bind = socketserver.TCPServer.server_bind


def main() -> None:
    """Serve until standard input ends."""
    server = Server(("0.0.0.0", PORT), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("serving", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
