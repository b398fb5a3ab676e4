"""A webhook and a mail server that keep what they get: what alerts arrive at in drills."""

from __future__ import annotations

import json
import socketserver
import threading
from email import message_from_string, policy
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Self


class _Served:
    """A server in a thread of its own while the context is open."""

    server: socketserver.BaseServer

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.server.serve_forever, name=type(self).__name__)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


class WebhookServer(_Served):
    """Takes JSON objects by POST."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                received.append(json.loads(self.rfile.read(length)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        http = HTTPServer(("127.0.0.1", 0), Handler)
        self.server = http
        self.url = f"http://127.0.0.1:{http.server_port}/"


class MailServer(_Served):
    """Speaks as much SMTP (RFC 5321) as a client needs to hand over a mail."""

    def __init__(self) -> None:
        self.mails: list[str] = []
        mails = self.mails

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self._say("220 here")
                while line := self.rfile.readline():
                    verb = line.decode().strip().upper()
                    if verb == "DATA":
                        self._say("354 go on")
                        mails.append(self._body())
                    elif verb == "QUIT":
                        self._say("221 bye")
                        return
                    self._say("250 fine")

            def _body(self) -> str:
                lines = []
                while (line := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                    lines.append(line.removeprefix(".") if line.startswith("..") else line)
                return "\n".join(lines)

            def _say(self, text: str) -> None:
                self.wfile.write(f"{text}\r\n".encode())

        tcp = socketserver.TCPServer(("127.0.0.1", 0), Handler)
        self.server = tcp
        self.port = int(tcp.server_address[1])

    @property
    def subjects(self) -> list[str]:
        """The subject of each mail, in order of arrival."""
        return [str(message_from_string(mail, policy=policy.default)["Subject"]) for mail in self.mails]
