"""Runs a notebook in a real Jupyter kernel, by nbclient, and prints what its cells said.

Cells run on the main thread of a process with threads, beside a running event loop. Besides, the kernel
is interrupted, and (--kill) started again and killed, while it has namespaces and programs: none is left.
"""

from __future__ import annotations

import asyncio
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

FIRST = """
import asyncio, os, socket
from netkit import *
assert asyncio.get_running_loop().is_running()
net = Scope().__enter__()
a, b = net.own(Namespace("a")), net.own(Namespace())
pair = net.own(VethPair(a, b, name="e0", peer_name="e0", address="10.0.0.1/24", peer_address="10.0.0.2/24"))
print(a.ping("10.0.0.2").loss, [link.name for link in b.links])
"""
INSIDE = """
factor = 2
def double(number):
    return factor * number
print(a.call(double, 21), a.call(lambda: socket.if_nameindex()[-1][1]))
print(a.run("echo $((6 * 7))", shell=True, capture_output=True, text=True).stdout)
"""
AWAITED = """
async with Scope() as lab:
    c = lab.own(Namespace())
    ran, pinged = asyncio.to_thread(c.run, ["true"]), asyncio.to_thread(c.ping, "127.0.0.1")
    done, reply = await asyncio.gather(ran, pinged)
    process = c.popen(["cat"], stdin=-1)
done.returncode, reply.loss, process.wait(150), c.exists
"""
REFUSED = """
try:
    with a.entered():
        pass
except (StateError, UnsupportedError) as problem:
    print(type(problem).__name__)
"""
BUSY_CELLS = (
    """
with Namespace("x") as x:
    x.popen(["sleep", "1000"], start_new_session=True)
    TELL
    x.run(["sleep", "1000"])
""",
    """
TELL
while True:
    with Namespace("x") as x, Namespace() as y:
        with VethPair(x, y, name="e", peer_name="e", address="10.0.0.1/24", peer_address="10.0.0.2/24"):
            x.popen(["sleep", "1000"], start_new_session=True)
            x.sysctl["net.ipv4.ip_forward"] = 1
""",
)
LEFT = """
try:
    Namespace.open("x")
except NotFoundError:
    x = y = None
    print(a.ping("10.0.0.2").loss, "gone")
"""
HELD = """
held = a.popen(["sleep", "1000"], start_new_session=True)
other = Namespace("other").create()
"""


# Seconds in which a cell has ended if it has heard of an interrupt: one just before a wait does not end it.
_HEARD = 20


class Book:
    """A notebook that grows by the cells that are run."""

    def __init__(self, client: NotebookClient, fifo: Path) -> None:
        self.client = client
        self.fifo = fifo

    async def run(self, source: str) -> str:
        """What a cell prints and shows."""
        cell = nbformat.v4.new_code_cell(source)
        self.client.nb.cells.append(cell)
        await self.client.async_execute_cell(cell, len(self.client.nb.cells) - 1)
        texts = [each.get("text") or each["data"]["text/plain"] for each in cell.outputs]
        return "".join(texts).strip()

    async def interrupt(self, source: str, moment: float) -> None:
        """Ctrl-C, or the button with the square, so long after the cell has said that it runs."""
        tell = f"os.close(os.open({str(self.fifo)!r}, os.O_WRONLY))"
        running = asyncio.create_task(self.run(source.replace("TELL", tell)))
        await asyncio.to_thread(lambda: os.close(os.open(self.fifo, os.O_RDONLY)))
        await asyncio.to_thread(select.select, [], [], [], moment)
        await self.client.km.interrupt_kernel()
        while not (await asyncio.wait([running], timeout=_HEARD))[0]:
            await self.client.km.interrupt_kernel()
        try:
            await running
        except CellExecutionError as problem:
            if problem.ename != "KeyboardInterrupt":
                raise

    @property
    def pid(self) -> int:
        """The kernel's."""
        pid: int = self.client.km.provisioner.pid
        return pid


async def helpers(book: Book) -> list[int]:
    """Pidfds of the broker, its supervisor, and what they have started."""
    said = await book.run("from netkit._system import broker\nprint(*broker.processes())")
    supervisor = int(said.split()[0])
    return [os.pidfd_open(supervisor), *descendants(supervisor)]


def descendants(pid: int) -> list[int]:
    """Pidfds of what came out of a process."""
    tasks = Path(f"/proc/{pid}/task")
    children = [int(each) for task in tasks.iterdir() for each in (task / "children").read_text().split()]
    return [
        *(os.pidfd_open(child) for child in children),
        *(fd for each in children for fd in descendants(each)),
    ]


async def all_end(pidfds: list[int]) -> int:
    """Wait for them; how many they were."""
    for fd in pidfds:
        assert (await asyncio.to_thread(select.select, [fd], [], [], 150))[0], "it goes on"
        os.close(fd)
    return len(pidfds)


async def play(book: Book, kill: bool) -> None:
    """All of it; ``kill``: the end is not a tidy one."""
    for source in (FIRST, INSIDE, AWAITED, REFUSED):
        print(await book.run(source))
    moments = random.Random(4)
    for source in BUSY_CELLS * 5:
        await book.interrupt(source, moments.uniform(0, 0.2))
        assert await book.run(LEFT) == "0.0 gone"
    print("interrupted")
    if not kill:
        print(await book.run("shutdown()\na.exists"))
        return
    await book.run(HELD)
    before = await helpers(book)
    await book.client.km.restart_kernel(now=False)
    await book.client.kc.wait_for_ready(timeout=150)
    assert await all_end(before) > 0
    print(await book.run(FIRST))
    await book.run(HELD)
    before = await helpers(book)
    os.kill(book.pid, signal.SIGKILL)
    assert await all_end(before) > 0
    print("killed")


async def main(directory: Path) -> None:
    """A kernel of this very Python."""
    fifo = directory / "tells"
    os.mkfifo(fifo)
    client: Any = NotebookClient(nbformat.v4.new_notebook(), timeout=150, kernel_name="python3")
    client.create_kernel_manager().transport = "ipc"
    # What programs print appears in the cell; the kernel says it once more where it was started.
    async with client.async_setup_kernel(stdout=subprocess.DEVNULL):
        await play(Book(client, fifo), kill="--kill" in sys.argv)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        os.environ |= {
            "HOME": place,
            "IPYTHONDIR": f"{place}/ipython",
            "JUPYTER_RUNTIME_DIR": f"{place}/runtime",
            "JUPYTER_PLATFORM_DIRS": "1",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        }
        asyncio.run(main(Path(place)))
    sys.stdout.flush()
