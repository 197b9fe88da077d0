"""What an ordinary user runs inside his namespaces: commands, terminals, functions, his own classes."""

from __future__ import annotations

from tests.harness.ordinary import Ordinary
from tests.rootless.programs import program


def test_run_is_subprocess_run(nobody: Ordinary) -> None:
    text = """
os.umask(0o027)
os.environ["IT"] = "is here"
read, write = os.pipe()
with Namespace() as a:
    def out(*words, **keywords):
        done = a.run(list(words), capture_output=True, text=True, **keywords)
        return done.returncode, done.stdout, done.stderr
    print(out("sh", "-c", "pwd; umask; echo $IT; id -u; echo oops >&2; exit 3"))
    print(out("sh", "-c", "pwd; echo $IT", cwd="/usr", env={"IT": "other"}))
    print(out("cat", input="through\\n"), out("sh", "-c", "kill -9 $$"))
    print(a.run(["sh", "-c", f"echo passed >&{write}"], pass_fds=[write]).returncode, os.read(read, 10))
    print(a.run("echo $((6 * 7))", shell=True, stdout=subprocess.PIPE).stdout)
    print(a.run(["ls", "/proc/self/fd"], capture_output=True, text=True).stdout.split())
    print(out("sh", "-c", "ps -o sid= -p $$", start_new_session=True)[1].strip() != "0")
    for words, keywords in ((["nosuch"], {}), (["/etc/passwd"], {}), (["true"], {"cwd": "/nosuch"})):
        try:
            a.run(words, **keywords)
        except OSError as problem:
            print(type(problem).__name__, problem.filename)
    try:
        a.run(["sh", "-c", "echo bad >&2; exit 7"], stderr=subprocess.PIPE, check=True)
    except CommandError as problem:
        print(problem.returncode, problem.stderr)
    try:
        a.run(["sleep", "100"], timeout=0.05)
    except subprocess.TimeoutExpired as problem:
        print(problem.cmd)
"""
    home = str(nobody.home)
    assert program(nobody, text) == [
        str((3, f"{home}\n0027\nis here\n0\n", "oops\n")),
        str((0, "/usr\nother\n", "")),
        f"{(0, 'through' + chr(10), '')} {(-9, '', '')}",
        "0 b'passed\\n'",
        "b'42\\n'",
        "['0', '1', '2', '3']",
        "True",
        "FileNotFoundError nosuch",
        "PermissionError /etc/passwd",
        "FileNotFoundError /nosuch",
        "7 b'bad\\n'",
        "['sleep', '100']",
    ]


def test_popen_is_subprocess_popen(nobody: Ordinary) -> None:
    text = """
import signal
with Namespace() as a:
    with a.popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        print(isinstance(process, subprocess.Popen), process.poll(), os.path.exists(f"/proc/{process.pid}"))
        process.stdin.write("hello\\n")
        process.stdin.flush()
        print(process.stdout.readline(), end="")
        process.terminate()
        print(process.wait(60), process.returncode)
        process.kill()  # of one that has ended: nothing
    left = a.popen(["sh", "-c", "trap '' TERM HUP; sleep 1000 & wait"], start_new_session=True)
left.wait(60)
print(left.returncode)
"""
    assert program(nobody, text) == ["True None True", "hello", "-15 -15", "-9"]


def test_a_terminal(nobody: Ordinary) -> None:
    text = """
import pty
with Namespace() as a:
    ours, theirs = pty.openpty()
    words = ["sh", "-c", "test -t 0 && test -t 1 && stty size && echo yes"]
    done = a.run(words, stdin=theirs, stdout=theirs, stderr=theirs)
    said = b""
    while b"yes" not in said:
        said += os.read(ours, 1000)
    print(done.returncode, said)
"""
    assert program(nobody, text) == [r"0 b'0 0\r\nyes\r\n'"]


def test_call(nobody: Ordinary) -> None:
    text = """
import threading
def double(numbers):
    return [2 * each for each in numbers]
def fail():
    raise KeyError("missing")
with Namespace() as a:
    print(a.call(double, [1, 2]), a.call(lambda: socket.if_nameindex()), a.call(os.getcwd) == os.getcwd())
    print(len(a.call(bytes, 3_000_000)), a.call(lambda: Namespace.current().links["lo"].addresses and "up"))
    with a.call(lambda: socket.create_server(("127.0.0.1", 80))) as server, a.socket() as client:
        client.connect(("127.0.0.1", 80))
        taken, _ = server.accept()
        taken.close()
        print(a.call(lambda it: it.getpeername(), client))
    sys.stdout.flush()
    a.call(print, "printed inside")
    for function in (fail, lambda: threading.Lock(), lambda: os.kill(os.getpid(), 9), lambda: sys.exit(3)):
        try:
            a.call(function)
        except (KeyError, SpecError, StateError, SystemExit) as problem:
            print(type(problem).__name__, str(problem)[-60:])
    try:
        a.call(print, threading.Lock())
    except SpecError as problem:
        print(problem)
    try:
        a.entered()
    except UnsupportedError as problem:
        print("netkit unshare" in str(problem))
"""
    lines = program(nobody, text)
    assert lines[:5] == [
        "[2, 4] [(1, 'lo')] True",
        "3000000 up",
        "('127.0.0.1', 80)",
        "printed inside",
        "KeyError 'missing'",
    ]
    assert lines[5].startswith("SpecError")
    assert lines[5].endswith("cannot pickle '_thread.lock' object")
    assert lines[6].startswith("StateError")
    assert lines[7] == "SystemExit 3"
    assert "cannot be taken there: cannot pickle '_thread.lock' object. Use run()" in lines[8]
    assert lines[9] == "True"


def test_call_with_the_program_s_own_classes(nobody: Ordinary) -> None:
    text = """
import dataclasses, enum, functools
@dataclasses.dataclass
class Result:
    names: list[str]
class Fault(Exception):
    pass
class Colour(enum.Enum):
    RED = 1
@functools.cache
def look():
    if not socket.if_nameindex():
        raise Fault("nothing")
    return Result([name for _, name in socket.if_nameindex()])
def fail():
    raise Fault(sys.argv[0])
with Namespace() as a:
    result = a.call(look)
    print(type(result) is Result, result == Result(["lo"]), a.call(result.names.copy))
    try:
        a.call(fail)
    except Fault as problem:
        print(str(problem) == sys.argv[0], "in the process of call()" in problem.__notes__[0])
    try:
        a.call(lambda: Colour.RED)
    except SpecError as problem:
        print("Colour is of the program's main module and its metaclass" in str(problem))
"""
    assert program(nobody, text) == ["True True ['lo']", "True True", "True"]


def test_with_busy_threads_and_a_running_loop(nobody: Ordinary) -> None:
    text = """
import asyncio, threading
stop = threading.Event()
def spin():
    while not stop.is_set():
        sum(range(1000))
threads = [threading.Thread(target=spin) for _ in range(50)]
for thread in threads:
    thread.start()
results = []
def use():
    with Namespace() as a:
        a.sysctl["net.ipv4.ip_forward"] = 1
        results.append((a.ping("127.0.0.1", timeout=300).loss, a.run(["true"]).returncode))
async def main():
    use()
    await asyncio.gather(asyncio.to_thread(use), asyncio.to_thread(use))
try:
    asyncio.run(main())
finally:
    stop.set()
    for thread in threads:
        thread.join()
print(results)
"""
    assert program(nobody, text) == ["[(0.0, 0), (0.0, 0), (0.0, 0)]"]
