"""The printer read by an encoder that neither we nor our driver wrote: python-escpos's QR, raster image and cut."""

from pathlib import Path

import numpy as np
import zxingcpp
from escpos.printer import Dummy
from PIL import Image


def test_python_escpos_prints_exactly_what_it_was_given(printer, tmp_path: Path) -> None:
    shown = np.random.default_rng(7).random((300, 576)) < 0.5
    job = Dummy(profile="TM-T20II")
    job.qr("T1:ABC 123", native=True, size=6, ec=1)
    job.image(Image.fromarray(~shown), impl="bitImageRaster", fragment_height=128)
    job.cut(mode="PART")
    running = printer("--no-scan-raster")
    wire = running.connect()
    wire.send(b"\x1b@" + job.output + b"\x1d(H\x06\x00000001")
    assert wire.take(7) == b"\x37\x220001\x00"
    cut = running.wait("cut")
    assert cut["kind"] == "partial"
    assert running.seen("error") == []
    picture = Image.open(cut["file"])
    (found,) = zxingcpp.read_barcodes(picture.crop((0, 0, 300, 96 + 21 * 6 + 20)))
    assert found.text == "T1:ABC 123"
    ink = ~np.asarray(picture)
    assert np.array_equal(ink[96 + 21 * 6 :][:300], shown)


def test_python_escpos_large_graphics_bug_does_not_pass_unseen(printer) -> None:
    # Above 910 rows of 576 dots it declares a wrapped 16-bit length (found by measurement): garbage on a real printer.
    job = Dummy(profile="TM-T20II")
    job.image(Image.new("1", (576, 940), 1), impl="graphics", fragment_height=960)
    running = printer("--no-scan-raster")
    running.connect().send(b"\x1b@" + job.output)
    assert running.wait("error")["lost"] is True
