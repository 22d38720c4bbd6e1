"""Hardware virtualization or not: found out by trying, because a /dev/kvm that opens may still hang every guest.

The trial is a boot sector that counts for a moment and then ends its QEMU with a known status. It counts because
there are machines (nested, without the processor's help) where KVM starts and then emulates instruction by
instruction: a bare exit still comes through there within seconds, and a kernel never.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec

from brickyard.brick import shell
from brickyard.core import errors

TRIAL_S = 2.0
EXIT_PORT = 0xF4
EXIT_VALUE = 0x10
EXIT_STATUS = EXIT_VALUE << 1 | 1  # the device shifts the value so that no guest can make QEMU report success

LOOPS = 50_000_000  # some 20 ms of a real processor, minutes where every single instruction is emulated

INSTRUCTIONS = bytes(
    [
        *(0x66, 0xB9, *LOOPS.to_bytes(4, "little")),  # mov ecx, LOOPS
        *(0x66, 0x49),  #       dec ecx
        *(0x75, 0xFC),  #       jnz -4           back to dec ecx, until it is 0
        *(0xB0, EXIT_VALUE),  # mov al, 0x10     the value that we want to see
        *(0xE6, EXIT_PORT),  #  out 0xf4, al     write it to isa-debug-exit: QEMU ends here
        *(0xF4,),  #            hlt              never reached where the device is there
        *(0xEB, 0xFD),  #       jmp -3           back to hlt, should an interrupt have woken us
    ]
)
BOOT_SECTOR = INSTRUCTIONS.ljust(510, b"\0") + b"\x55\xaa"  # the signature by which a BIOS knows that it may boot this

ARGUMENTS = {
    "kvm": ("-accel", "kvm", "-cpu", "host"),
    # A small translation cache: the default of 1 GiB per guest is memory that a host of many guests has not got.
    "tcg": ("-accel", "tcg,thread=multi,tb-size=128", "-cpu", "max"),
}


def works(name: str, binary: str, *, timeout_s: float = TRIAL_S) -> bool:
    """Whether a guest under this accelerator executes instructions."""
    with tempfile.NamedTemporaryFile(prefix="brickyard-trial-") as sector:
        sector.write(BOOT_SECTOR)
        sector.flush()
        argv = [
            *(binary, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "pc", "-m", "16"),
            *ARGUMENTS[name],
            *("-device", f"isa-debug-exit,iobase={EXIT_PORT:#x},iosize=4"),
            *("-drive", f"file={sector.name},format=raw,if=ide,read-only=off,snapshot=off"),
        ]
        try:
            shell.run(argv, timeout_s=timeout_s)
        except errors.ToolFailed as ended:
            return ended.returncode == EXIT_STATUS
    return False


def choose(state: Path, binary: str) -> str:
    """kvm if it works, else tcg. Tried once per boot of this machine; the result is kept in the state directory."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    kept = state / "acceleration.json"
    try:
        known = msgspec.json.decode(kept.read_bytes(), type=dict[str, str])
        if known["boot"] == boot and known["binary"] == binary and known["name"] in ARGUMENTS:
            return known["name"]
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError, KeyError):
        pass  # never tried, or an unreadable note: try now
    name = "kvm" if os.access("/dev/kvm", os.R_OK | os.W_OK) and works("kvm", binary) else "tcg"
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = kept.with_name(f"acceleration.json.{os.getpid()}")
    new.write_bytes(msgspec.json.encode({"boot": boot, "binary": binary, "name": name}))
    new.replace(kept)
    return name
