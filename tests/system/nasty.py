"""nasty.py - webhook receivers that do everything wrong, each in its own way."""

import socket
import threading

from harness import PATIENCE_S


class Nasty:
    """A receiver at a port of its own; `manner` is called with each connection
    whose request has come. `url` is where it is, `asked` how often it was."""

    def __init__(self, manner, scheme="http"):
        self._manner = manner
        self._closed = threading.Event()
        self._changed = threading.Condition()
        self._open = set()
        self.asked = 0
        self.most = 0  # connections at once
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}/hook"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                self._open.add(peer)
                self.most = max(self.most, len(self._open))
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        try:
            if self._manner is not hang_up:
                self._read(peer)
            with self._changed:
                self.asked += 1
                self._changed.notify_all()
            self._manner(self, peer)
        except OSError:
            pass  # the other side has had enough
        finally:
            with self._changed:
                self._open.discard(peer)
                self._changed.notify_all()
            peer.close()

    @staticmethod
    def _read(peer):
        """The request; of TLS, what comes first."""
        got = b""
        while b"\r\n\r\n" not in got and not got.startswith(b"\x16"):
            piece = peer.recv(65536)
            if not piece:
                return
            got += piece

    def hold(self, peer, drip=None):
        """Keep the connection until the other side or the test ends it, and send
        a drip now and then."""
        peer.settimeout(0.05)
        while not self._closed.is_set():
            if drip:
                peer.sendall(drip)
            try:
                if not peer.recv(65536):
                    return
            except TimeoutError:
                pass

    def open_now(self):
        with self._changed:
            return len(self._open)

    def wait(self, ready, what):
        with self._changed:
            if not self._changed.wait_for(ready, PATIENCE_S):
                raise TimeoutError(what)

    def close(self):
        """Refuse whoever comes, and end what is held."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        self._listener.close()
        with self._changed:
            for peer in self._open:
                try:
                    peer.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


def says(text):
    def manner(nasty, peer):
        peer.sendall(text.encode())
    return manner


def hang_up(nasty, peer):
    """Before a byte of the request was read."""


def silent(nasty, peer):
    nasty.hold(peer)


def drips_a_head(nasty, peer):
    peer.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    nasty.hold(peer, b"x")


def drips_a_body(nasty, peer):
    peer.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 1000\r\n\r\n")
    nasty.hold(peer, b"x")


def promises_more(nasty, peer):
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort")
    nasty.hold(peer)


def endless_body(nasty, peer):
    peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        peer.sendall(b"x" * 65536)


def endless_head(nasty, peer):
    peer.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        peer.sendall(b"X-Header: " + b"x" * 1000 + b"\r\n")


# Those who keep a connection for as long as they are let.
HOLDERS = {
    "silent": lambda: Nasty(silent),
    "silent with TLS": lambda: Nasty(silent, "https"),
    "drips a head": lambda: Nasty(drips_a_head),
    "drips a body": lambda: Nasty(drips_a_body),
    "promises more": lambda: Nasty(promises_more),
}

# Those who answer somehow: what the log then says of the first attempt, and the
# webhook's state when that was its last but one.
ANSWERS = {
    "hangs up": (lambda: Nasty(hang_up), None, "", "pending"),
    "says nothing": (lambda: Nasty(says("")), None, "", "pending"),
    "is no server": (lambda: Nasty(says("220 smtp.example\r\n\r\n")), None, "", "pending"),
    "has no TLS": (lambda: Nasty(says("HTTP/1.1 200 OK\r\n\r\n"), "https"), None, "",
                   "pending"),
    "redirects": (lambda: Nasty(says("HTTP/1.1 307 Elsewhere\r\nContent-Length: 0\r\n"
                                     "Location: http://127.0.0.1:2019/stop\r\n\r\n")),
                  307, "redirects are not followed", "pending"),
    "fails": (lambda: Nasty(says("HTTP/1.1 500 No\r\n\r\nnot today")), 500, "status 500",
              "pending"),
    "breaks off": (lambda: Nasty(says("HTTP/1.1 503 No\r\nContent-Length: 99\r\n\r\nnot")),
                   503, "status 503", "pending"),
    "is gone": (lambda: Nasty(says("HTTP/1.1 410 Gone\r\n\r\n")), 410, "gone", "dead"),
    "has a limit": (lambda: Nasty(says("HTTP/1.1 429 Later\r\nRetry-After: 864000\r\n\r\n")),
                    429, "status 429", "pending"),
    "has no end": (lambda: Nasty(endless_body), 200, None, "delivered"),
    "has no end of head": (lambda: Nasty(endless_head), None, "", "pending"),
    "has a short end": (lambda: Nasty(says("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")),
                        200, None, "delivered"),
}

# Spellings of our own machine and of what is nobody's business, and of URLs two
# parsers would read differently.
SPELLINGS = [
    "http://127.0.0.1/", "http://2130706433/", "http://0x7f000001/", "http://0x7f.1/",
    "http://0177.0.0.1/", "http://127.1/", "http://127.0.0.1./", "http://0/",
    "http://0.0.0.0/", "http://[::1]/", "http://[::]/", "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/", "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/",
    "http://[fe80::1%25eth0]/", "http://localhost/", "http://LOCALHOST./",
    "http://foo.localhost/", "http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/",
    "http://127\u30020\u30020\u30021/", "http://169.254.169.254/latest/meta-data/",
    "http://good.example@127.0.0.1/", "http://127.0.0.1#@good.example/",
    "http://127.0.0.1\\@good.example/", "http://127.0.0.1:80\t/",
    "http://127.0.0.1/\r\nX-A: b", "http://127.0.0.1 good.example/",
    "http://127.0.0.1:99999/", "http://127.0.0.1:0/", "http:///127.0.0.1/",
    "http:127.0.0.1", "//127.0.0.1/", "127.0.0.1:2019/stop", "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_x", "dict://127.0.0.1:11211/stats", "ftp://127.0.0.1/",
    "ws://127.0.0.1/", "http+unix://%2Frun%2Fx.sock/", "javascript:alert(1)",
    "http://127.0.0.1%2f@good.example/", "http://%31%32%37.0.0.1/",
    "http://127.0.0.1%00.good.example/", "http://[127.0.0.1]/", "http://*.example/",
]
