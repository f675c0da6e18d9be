"""A strict ESC/POS ticket printer: bytes in, pictures of paper and status bytes out, and faults when told to.

What it takes is what a Japanese 80 mm printer of the Epson family takes (576 dots, 203 dpi, Shift_JIS). It is strict
where real printers are forgiving, because a forgiving emulator hides a driver's mistakes.
"""
