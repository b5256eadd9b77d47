"""receiver.py - a webhook receiver that believes only what is signed.

    WEBHOOK_SECRET=whsec_… python3 receiver.py 8088
"""

import base64
import hashlib
import hmac
import json
import os
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOLERANCE_S = 300    # how old, or early, an attempt may be
MAX_BODY = 1 << 20   # bytes; more where jobs ask for "artifact": "inline"


class Refused(Exception):
    def __init__(self, status, why):
        super().__init__(why)
        self.status = status


def verify(secret, headers, body):
    """Raise Refused unless these bytes come from who knows the secret, and lately."""
    id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not id or not re.fullmatch("[0-9]{1,15}", timestamp):
        raise Refused(400, "webhook-id or webhook-timestamp is missing")
    if abs(time.time() - int(timestamp)) > TOLERANCE_S:
        raise Refused(401, "the timestamp is too far from now")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{id}.{timestamp}.".encode() + body
    want = b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256))
    # several while secrets are exchanged; one that fits is enough
    for entry in headers.get("webhook-signature", "").split():
        if hmac.compare_digest(entry.encode(), want):
            return
    raise Refused(401, "no signature fits")


class Receiver(BaseHTTPRequestHandler):
    timeout = 10
    lock = threading.Lock()
    seen = {}  # ids; yours belong into your database, written with the work

    def do_POST(self):
        try:
            self.take()
            self.send_response(204)
        except Refused as refused:
            self.send_response(refused.status)
        self.end_headers()

    def take(self):
        length = self.headers.get("content-length", "")
        if not re.fullmatch("[0-9]{1,9}", length) or int(length) > MAX_BODY:
            raise Refused(400, "no length, or too much")
        body = self.rfile.read(int(length))
        verify(os.environ["WEBHOOK_SECRET"], self.headers, body)
        try:
            event = json.loads(body)
        except ValueError:
            raise Refused(400, "not JSON")
        with self.lock:
            if self.headers["webhook-id"] in self.seen:
                return  # once more: it was done, and is good
            print(event["type"], event["data"]["job"]["id"], flush=True)  # the work
            self.seen[self.headers["webhook-id"]] = True
            if len(self.seen) > 10000:
                del self.seen[next(iter(self.seen))]

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
