"""netns.py - a LAN of our own, on which the target's host can fall asleep.

    worker's host 10.91.0.1 ── switch ── mac 10.91.0.2
      (namespace)            (namespace)   (namespace)

The worker runs in the first namespace, the fake target in the third; Caddy,
responders and clients stay outside, they meet the worker over files alone.
Asleep, the mac's port at the switch is down and its processes are stopped:
the worker's own link stays up and nobody says no; there is only silence, and
after a while nobody answers ARP, unless a sleep proxy does: then packets go into
a black hole. (A real Mac's kernel stops its timers too.)

The fake listens on loopback only, so a forwarder stands on the mac's address;
it is part of this file: `netns.py PORT`.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

from harness import Service, until

HOST, MAC, PORT = "10.91.0.1", "10.91.0.2", 11434


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def why_not():
    """Why this machine cannot have such a LAN, or None."""
    try:
        lan = Lan("try")
    except FileNotFoundError:
        return "there is no ip(8)"
    except subprocess.CalledProcessError as error:
        return f"no network namespaces: {error.stderr.strip()}"
    lan.remove()
    return None


class Lan:
    def __init__(self, name):
        self._made = []
        mark = f"fm{os.getpid()}{name}"
        self.host, self.switch, self.mac = (f"{mark}-{n}" for n in ("host", "sw", "mac"))
        try:
            self._make()
        except Exception:
            self.remove()
            raise

    def _make(self):
        self._space(self.switch)
        ip("-n", self.switch, "link", "add", "sw0", "type", "bridge", "forward_delay", "0")
        ip("-n", self.switch, "link", "set", "sw0", "up")
        self._machine(self.host, "p1", HOST)
        self._machine(self.mac, "p2", MAC)

    def _space(self, name):
        ip("netns", "add", name)
        self._made.append(name)
        ip("-n", name, "link", "set", "lo", "up")

    def _machine(self, name, port, address):
        self._space(name)
        ip("-n", name, "link", "add", "eth0", "address", f"02:00:00:00:00:0{port[1:]}",
           "type", "veth", "peer", "name", port, "netns", self.switch)
        ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", self.switch, "link", "set", port, "master", "sw0", "up")

    def plug(self, connected):
        """The mac's cable, at the switch's end."""
        ip("-n", self.switch, "link", "set", "p2", "up" if connected else "down")

    def proxy(self):
        """From now on something answers ARP for the mac, asleep or not."""
        ip("-n", self.host, "neigh", "replace", MAC, "lladdr", "02:00:00:00:00:02",
           "dev", "eth0", "nud", "permanent")

    def another_mac(self):
        """The same machine, with nothing left of what its kernel knew."""
        ip("-n", self.switch, "link", "del", "p2")
        ip("netns", "del", self.mac)
        self._made.remove(self.mac)
        self._machine(self.mac, "p2", MAC)

    def remove(self):
        for space in reversed(self._made):
            subprocess.run(["ip", "netns", "del", space], check=False)
        self._made = []


class SleepyService(Service):
    """A Service whose target is on another machine, which sleeps now and then."""

    def __init__(self, build, lan, fake=(), **settings):
        super().__init__(build, fake, **settings)
        self.lan = lan

    # --- its processes --------------------------------------------------------

    def spawn(self, name, argv, **more):
        space = {"fake": self.lan.mac, "forwarder": self.lan.mac,
                 "worker": self.lan.host}.get(name)
        if space:
            argv = ["ip", "netns", "exec", space, *argv]
        return super().spawn(name, argv, **more)

    def start_fake(self):
        super().start_fake()
        self.forwarder = self.spawn("forwarder", [
            sys.executable, __file__, str(self.fake_port)])
        until(lambda: "ready" in self.forwarder.text(), "the forwarder listens")
        self.settings["FOREMAN_OLLAMA_URL"] = f"http://{MAC}:{PORT}"

    def stop(self):
        self.wake()
        self.forwarder.kill()
        return super().stop()

    # --- its target's life ----------------------------------------------------

    def sleep(self):
        self.lan.plug(False)
        for process in (self.forwarder, self.fake):
            process.signal(signal.SIGSTOP)

    def black_hole(self):
        """Packets vanish on the way; whoever is there knows nothing of it."""
        self.lan.proxy()
        self.lan.plug(False)

    def stop_reading(self):
        """The mac's process takes no byte any more; its kernel goes on."""
        self.forwarder.signal(signal.SIGSTOP)

    def wake(self):
        for process in (self.forwarder, self.fake):
            process.signal(signal.SIGCONT)
        self.lan.plug(True)

    def reboot(self):
        """Power off and on: nobody is told, and nothing is known afterwards."""
        self.lan.plug(False)
        for process in (self.forwarder, self.fake):
            process.kill()
        self.lan.another_mac()
        self.start_fake()

    def stats(self):
        got = subprocess.run(
            ["ip", "netns", "exec", self.lan.mac, sys.executable, "-c",
             "import sys, urllib.request as u;"
             "print(u.urlopen(sys.argv[1]).read().decode())",
             f"http://127.0.0.1:{self.fake_port}/fake/stats"],
            check=True, capture_output=True, text=True)
        return json.loads(got.stdout)


# --- the forwarder ------------------------------------------------------------

def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def forward(client, port):
    with client, socket.create_connection(("127.0.0.1", port)) as target:
        back = threading.Thread(target=pump, args=(target, client), daemon=True)
        back.start()
        pump(client, target)
        back.join()


def main():
    with socket.create_server((MAC, PORT)) as listener:
        print("ready", flush=True)
        while True:
            client, _ = listener.accept()
            threading.Thread(target=forward, args=(client, int(sys.argv[1])),
                             daemon=True).start()


if __name__ == "__main__":
    main()
