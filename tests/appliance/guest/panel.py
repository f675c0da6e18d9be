"""A multi-touch panel made of uinput for the guest of script/spike-kms: QEMU 7.2 has a tablet with a button, but no touch panel.

It is there before the kiosk starts, touches once, is pulled out, plugged in again, and touches once more.
Event and ioctl numbers: linux/uinput.h, linux/input-event-codes.h.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import time

EV_SYN, EV_KEY, EV_ABS, BTN_TOUCH = 0, 1, 3, 0x14A
ABS_X, ABS_Y, ABS_MT_SLOT, ABS_MT_X, ABS_MT_Y, ABS_MT_ID = 0, 1, 0x2F, 0x35, 0x36, 0x39
AXES = {ABS_X: 1080, ABS_Y: 1920, ABS_MT_SLOT: 9, ABS_MT_ID: 65535, ABS_MT_X: 1080, ABS_MT_Y: 1920}
DEV_CREATE = ord("U") << 8 | 1


def set_request(number: int, size: int) -> int:
    return 1 << 30 | size << 16 | ord("U") << 8 | number


def plug() -> int:
    panel = os.open("/dev/uinput", os.O_WRONLY)
    for bit, value in ((100, EV_KEY), (101, BTN_TOUCH), (100, EV_ABS), (110, 1)):  # 110, 1: INPUT_PROP_DIRECT
        fcntl.ioctl(panel, set_request(bit, 4), value)
    for axis, top in AXES.items():
        fcntl.ioctl(panel, set_request(103, 4), axis)
        fcntl.ioctl(panel, set_request(4, 28), struct.pack("H2x6i", axis, 0, 0, top, 0, 0, 0))
    fcntl.ioctl(panel, set_request(3, 92), struct.pack("HHHH80sI", 3, 0x1234, 0x5678, 1, b"spike panel", 0))
    fcntl.ioctl(panel, DEV_CREATE)
    return panel


def send(panel: int, *events: tuple[int, int, int]) -> None:
    for kind, code, value in (*events, (EV_SYN, 0, 0)):
        os.write(panel, struct.pack("qqHHi", 0, 0, kind, code, value))


def touch(panel: int, x: int, y: int, number: int) -> None:
    print(f"SPIKE panel touches x={x} y={1920 - y} (from below)", file=sys.stderr, flush=True)
    place = (EV_ABS, ABS_MT_X, x), (EV_ABS, ABS_MT_Y, y), (EV_ABS, ABS_X, x), (EV_ABS, ABS_Y, y)
    send(panel, (EV_ABS, ABS_MT_SLOT, 0), (EV_ABS, ABS_MT_ID, number), *place, (EV_KEY, BTN_TOUCH, 1))
    time.sleep(0.4)
    send(panel, (EV_ABS, ABS_MT_ID, -1), (EV_KEY, BTN_TOUCH, 0))


def main(screen: str) -> None:
    subprocess.run(["modprobe", "uinput"], check=True)
    panel = plug()
    if os.fork():
        return  # the unit is forking: the screen starts when the panel is there
    while subprocess.run(["systemctl", "is-active", "--quiet", screen], check=False).returncode:
        time.sleep(2)
    time.sleep(8)
    touch(panel, 200, 300, 1)
    time.sleep(4)
    os.close(panel)
    time.sleep(3)
    panel = plug()
    time.sleep(6)
    touch(panel, 800, 1600, 2)
    time.sleep(5)
    print("SPIKE panel done", file=sys.stderr, flush=True)
    time.sleep(600)


main(sys.argv[1])
