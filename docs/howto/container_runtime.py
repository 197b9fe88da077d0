"""The network of a small container runtime: one process makes it and exits, another one removes it.

    netkit unshare -- python container_runtime.py crun

`netkit unshare` gives it network and mount namespaces of its own, where it plays the host. An ordinary
user may not make cgroups: `crun --cgroup-manager=disabled`.
"""

import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path

from netkit import Bridge, Namespace, NatRule, Scope, VethPair

PUBLIC, OUTSIDE = "203.0.113.1", "203.0.113.2"  # of this host, and of a machine out there
COMMAND = "httpd -p 8080 -h /www && echo ready && exec tail -f /dev/null"


def rules(host: Namespace) -> list[NatRule]:
    """Out to anywhere with the host's address; in to web by the host's port 80, from the host itself too."""
    return [
        NatRule.masquerade(host, saddr="172.18.0.0/24", oif="!= ctr0"),
        NatRule.dnat(host, daddr=PUBLIC, proto="tcp", dport=80, to="172.18.0.2:8080", local=True),
    ]


def start(runtime: list[str], directory: Path) -> None:
    """What `docker run` does, twice: into a namespace of ours, and into one that the runtime makes."""
    host = Namespace.current()
    host.sysctl["net.ipv4.ip_forward"] = 1
    with Scope() as made, ExitStack() as started:  # whatever fails: what was made until then is undone
        bridge = made.own(Bridge(host, "ctr0", address="172.18.0.1/24"))

        web = made.own(Namespace("web", persistent=True))
        bridge.connect(web, name="v-web", peer_address="172.18.0.2/24", default_route=True)
        started.callback(remove, runtime, "web")
        run(runtime, directory, "web", web.path)

        started.callback(remove, runtime, "db")
        pid = run(runtime, directory, "db", None)
        with Namespace.from_pid(pid) as db:
            db.links["lo"].up()
            bridge.connect(db, name="v-db", peer_address="172.18.0.3/24", default_route=True)

        made.own(*rules(host))
        made.detach()  # all of it outlives this process, and what the bridge has connected
        started.pop_all()


def stop(runtime: list[str]) -> None:
    """What `docker rm` does, in another process: adopt what `start` left, and let the block remove it."""
    host = Namespace.current()
    with Scope() as gone:
        gone.own(Namespace.open("web").adopt())
        gone.own(Bridge.open(host, "ctr0").adopt())
        for name in ("web", "db"):
            gone.own(VethPair.open(host, f"v-{name}").adopt())
        for rule in rules(host):
            gone.own(rule.adopt())
        for name in ("web", "db"):
            remove(runtime, name)


def remove(runtime: list[str], name: str) -> None:
    """Kill a container and forget it; one that was not even made is no error."""
    subprocess.run([*runtime, "delete", "--force", name], check=True)


def run(runtime: list[str], directory: Path, name: str, path: str | None) -> int:
    """Start a container in the network namespace at this path, or in one of its own; its process."""
    bundle = directory / name
    (bundle / "rootfs/www").mkdir(parents=True)
    (bundle / "rootfs/www/index.html").write_text(f"this is {name}\n")
    for made in ("bin", "dev", "proc"):
        (bundle / "rootfs" / made).mkdir()
    (bundle / "rootfs/bin/sh").write_bytes(Path("/bin/busybox").read_bytes())  # Debian's busybox-static
    (bundle / "rootfs/bin/sh").chmod(0o755)
    network = {"type": "network"} if path is None else {"type": "network", "path": path}
    others = [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]
    spec = {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["/bin/sh", "-c", COMMAND]},
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
        ],
        "linux": {"namespaces": [network, *others], "cgroupsPath": f"/{directory.name}-{name}"},
    }
    (bundle / "config.json").write_text(json.dumps(spec))
    pid_file = bundle / "pid"
    command = [*runtime, "run", "--detach", "--bundle", str(bundle), "--pid-file", str(pid_file), name]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as starting:
        if starting.stdout is None or starting.stdout.readline() != "ready\n":
            raise SystemExit(f"{runtime[0]} could not start {name}")
    return int(pid_file.read_text())


def main(runtime: list[str]) -> None:
    """Play the host: start and stop are processes of their own, with traffic in between."""
    host, myself = Namespace.current(), [sys.executable, __file__]
    host.links["lo"].up()
    with (
        tempfile.TemporaryDirectory() as directory,
        Namespace("outside") as outside,
        VethPair(host, outside, name="wan0", peer_name="eth0",
                 address=f"{PUBLIC}/24", peer_address=f"{OUTSIDE}/24"),
        outside.socket() as listener,
    ):  # fmt: skip
        before = host.links.keys(), host.snapshot().nat
        subprocess.run([*myself, "start", directory, *runtime], check=True)

        print("outside sees on the host's port 80:", outside.call(page, PUBLIC, 80))
        print("the host itself sees there:", page(PUBLIC, 80))
        print("and in the container of its own:", page("172.18.0.3", 8080))
        listener.settimeout(20)
        listener.bind((OUTSIDE, 9000))
        listener.listen()
        for name, peer in (("web", "172.18.0.3"), ("db", "172.18.0.2")):
            say = f"wget -qO- http://{peer}:8080 | nc {OUTSIDE} 9000"
            with subprocess.Popen([*runtime, "exec", name, "/bin/sh", "-c", say]):
                connection, (address, _) = listener.accept()
                with connection, connection.makefile() as text:
                    said = text.readline().strip()
            print(f"{name} tells outside: {said}; it seems to come from {address}")

        subprocess.run([*myself, "stop", *runtime], check=True)
        print("the host is as before:", (host.links.keys(), host.snapshot().nat) == before)


def page(host: str, port: int) -> str:
    """The first page of a web server."""
    connection = HTTPConnection(host, port, timeout=5)
    connection.request("GET", "/")
    return connection.getresponse().read().decode().strip()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["start", directory, *runtime]:
            start(runtime, Path(directory))
        case ["stop", *runtime]:
            stop(runtime)
        case []:
            raise SystemExit(__doc__)
        case runtime:
            main(runtime)
