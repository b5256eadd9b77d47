"""wire.py - one HTTP exchange as bytes on a socket, kept as it was framed.

http.client hides what a differential test looks at: chunk boundaries, repeated
headers, whether an end was an end. This reader shows them.
"""

import json
import re
import socket

PATIENCE_S = 60


class Closed(Exception):
    """The connection ended before what was awaited."""


class Reply:
    """status, headers [(lower-case name, value)], framing, pieces, end.

    framing: none, length, chunked or close. pieces: the chunks of a chunked
    body, else the body in one. end: complete, or cut where it fell short.
    """

    def __init__(self, status, headers):
        self.status = status
        self.headers = headers
        self.framing = "none"
        self.pieces = []
        self.end = "complete"

    def header(self, name):
        values = [v for n, v in self.headers if n == name]
        return ", ".join(values) if values else None

    @property
    def body(self):
        return b"".join(self.pieces)

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return (f"<{self.status} {self.headers} {self.framing} {self.end} "
                f"{len(self.pieces)} pieces {self.body[:300]!r}>")


class Wire:
    """A connection; send() bytes, read() replies, as often as both sides like."""

    def __init__(self, port, timeout=PATIENCE_S):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def send(self, data):
        self._socket.sendall(data)

    def _more(self):
        try:
            data = self._socket.recv(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            raise Closed(self._rest[:200])
        self._rest += data

    def _line(self):
        while b"\r\n" not in self._rest:
            self._more()
        line, _, self._rest = self._rest.partition(b"\r\n")
        return line

    def _take(self, count):
        parts, have = [self._rest], len(self._rest)
        while have < count:
            self._rest = b""
            try:
                self._more()
            except Closed:
                self._rest = b"".join(parts)
                raise
            parts.append(self._rest)
            have += len(self._rest)
        whole = b"".join(parts)
        self._rest = whole[count:]
        return whole[:count]

    def head(self):
        status = int(self._line().split()[1])
        headers = []
        while line := self._line():
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name.lower(), value.strip()))
        return Reply(status, headers)

    def read(self, method="GET"):
        """The next final reply, whole."""
        reply = self.head()
        while reply.status == 100:
            reply = self.head()
        length = reply.header("content-length")
        try:
            if reply.header("transfer-encoding") == "chunked":
                reply.framing = "chunked"
                if method != "HEAD":
                    self._chunks(reply)
            elif length is not None:
                reply.framing = "length"
                if method != "HEAD":
                    reply.pieces = [self._take(int(length))]
            elif method != "HEAD" and reply.status not in (204, 304):
                reply.framing = "close"
                self._to_the_end(reply)
        except Closed:
            reply.end = "cut"
        return reply

    def _chunks(self, reply):
        while size := int(self._line().split(b";")[0], 16):
            reply.pieces.append(self._take(size))
            self._line()
        self._line()  # no trailers

    def _to_the_end(self, reply):
        try:
            while True:
                self._more()
        except Closed:
            reply.pieces = [self._rest]
            self._rest = b""


def request(method, path, body=b"", headers=(), version="1.1", host="localhost"):
    """The bytes of a request. A body has its length unless headers say how it is
    framed; host None leaves it out."""
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
    if isinstance(body, str):
        body = body.encode()
    lines = [f"{method} {path} HTTP/{version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in headers]
    framed = any(n.lower() in ("content-length", "transfer-encoding")
                 for n, _ in headers)
    if not framed and (body or method in ("POST", "PUT")):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked(body, size=1000):
    """The body as chunks."""
    parts = [body[i:i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"


# What two runs of the same request may say differently.
_VOLATILE = re.compile(
    rb'"(created_at|modified_at|expires_at)":"[^"]*"'
    rb'|"([a-z_]*duration|created(?:_at)?)":[0-9]+'
    rb'|"(id)":"(?:chatcmpl|call|cmpl|resp|msg)[-_][^"]*"')


def normal(body):
    """The body with times, durations and generated ids blanked."""
    def blank(match):
        name = next(g for g in match.groups() if g)
        return b'"' + name + b'":0'
    return _VOLATILE.sub(blank, body)
