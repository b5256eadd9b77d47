"""receiver.py - webhooks received, for the demonstration and the tests.

It checks what it is sent as docs/receivers/receiver.py does, and remembers each
delivery, good or not. To write a receiver of your own, start from that one.

    python3 deploy/receiver.py whsec_… [port]     prints each delivery
"""

import importlib.util
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def documented():
    """The receiver of docs/webhooks.md, as a module."""
    here = os.path.dirname(os.path.abspath(__file__))
    spec = importlib.util.spec_from_file_location(
        "documented", os.path.join(here, "..", "docs", "receivers", "receiver.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DOCUMENTED = documented()


def verify(secret, headers, body):
    """Why the delivery is not to be trusted, or None if it is."""
    try:
        DOCUMENTED.verify(secret, headers, body)
    except DOCUMENTED.Refused as refused:
        return str(refused)
    return None


class Delivery:
    """One POST as it came, and what became of it."""

    def __init__(self, headers, body, problem, status):
        self.at = time.monotonic()
        self.id = headers.get("webhook-id")
        self.headers = headers
        self.body = body
        self.problem = problem  # None: the signature is good
        self.status = status    # what it was answered
        self.event = json.loads(body)
        self.type = self.event["type"]
        self.job = self.event["data"]["job"]


class Receiver:
    """Serves on a port of 127.0.0.1 until closed.

    `answers` is called with (number of the delivery, headers, event) and gives
    the status to answer; by default a good signature gets 204, another 401.
    """

    def __init__(self, secret=None, port=0, answers=None):
        self.secret = secret
        self.answers = answers
        self.deliveries = []
        self._changed = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                status = receiver._take(self.headers, body)
                self.send_response(status)
                if status != 204:
                    self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"
        threading.Thread(target=self._server.serve_forever, args=(0.05,),
                         daemon=True).start()

    def _take(self, headers, body):
        problem = verify(self.secret, headers, body) if self.secret else None
        status = 401 if problem else 204
        with self._changed:
            if self.answers:
                status = self.answers(len(self.deliveries), headers, json.loads(body))
            self.deliveries.append(Delivery(headers, body, problem, status))
            self._changed.notify_all()
        return status

    def wait_for(self, ready, seconds=60):
        """Wait until ready(deliveries) is true; the deliveries then."""
        with self._changed:
            if not self._changed.wait_for(lambda: ready(self.deliveries), seconds):
                got = [(d.type, d.status, d.problem) for d in self.deliveries]
                raise TimeoutError(f"after {seconds} s only these came: {got}")
            return list(self.deliveries)

    def of(self, job_id):
        """The deliveries of one job that were accepted, in order."""
        with self._changed:
            return [d for d in self.deliveries
                    if d.job["id"] == job_id and 200 <= d.status < 300]

    def wait_for_types(self, job_id, types, seconds=60):
        """Wait until as many of a job's webhooks were accepted."""
        self.wait_for(lambda _: len(self.of(job_id)) >= len(types), seconds)
        return self.of(job_id)

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def main():
    receiver = Receiver(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    print("listening on", receiver.url, flush=True)
    seen = 0
    while True:
        for d in receiver.wait_for(lambda all: len(all) > seen, 1e9)[seen:]:
            seen += 1
            print(d.id, d.type, d.job["id"], d.problem or "signature ok", flush=True)


if __name__ == "__main__":
    main()
