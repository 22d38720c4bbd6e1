"""LVM, killed at a moment of its own: `killed_lvm.py MOMENT PROGRAM ARGUMENT…` runs a program and kills it when it has
made so many steps. A step is a call to the device mapper that changes something, before it and after it; so every
state in which a command of LVM can leave the kernel, beside its metadata on the disks, is the end of one.

It ends as the program does, with 137 where that was killed. Needs nothing but the kernel, on x86-64.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

TRACEME, PEEKUSER, KILL, SYSCALL, SETOPTIONS = 0, 3, 8, 24, 0x4200
EXITKILL, TRACESYSGOOD = 0x100000, 1
NUMBER, REQUEST = 15 * 8, 13 * 8  # where <sys/user.h> keeps orig_rax and rsi
IOCTL = 16
MAPPER = 0xFD  # the kind of an ioctl of the device mapper
CHANGES = {3, 4, 5, 6, 9, 10, 14}  # create, remove, rename, suspend or resume, load a table, clear it, a message
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.restype = ctypes.c_long
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def ptrace(request: int, process: int, place: int = 0, value: int = 0) -> int:
    ctypes.set_errno(0)
    found = int(LIBC.ptrace(request, process, place, value))
    if found == -1 and ctypes.get_errno():
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found


def run(moment: int, argv: list[str]) -> int:
    child = os.fork()
    if child == 0:
        ptrace(TRACEME, 0)
        os.execv(argv[0], argv)
    os.waitpid(child, 0)  # it stops at its exec
    ptrace(SETOPTIONS, child, 0, EXITKILL | TRACESYSGOOD)
    steps, pending = 0, 0
    while True:
        ptrace(SYSCALL, child, 0, pending)
        _, status = os.waitpid(child, 0)
        if not os.WIFSTOPPED(status):
            return os.waitstatus_to_exitcode(status)
        stopped = os.WSTOPSIG(status)
        pending = 0 if stopped == signal.SIGTRAP | 0x80 else stopped
        if not pending and _is_change(child):
            steps += 1
            if steps == moment:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return 128 + signal.SIGKILL


def _is_change(child: int) -> bool:
    request = ptrace(PEEKUSER, child, REQUEST)
    return ptrace(PEEKUSER, child, NUMBER) == IOCTL and request >> 8 & 0xFF == MAPPER and request & 0xFF in CHANGES


if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]), sys.argv[2:]))
