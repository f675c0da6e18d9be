"""The table of the demo: what the printer cut off lies here, and from here it is held before the gate's camera.

Beside the paper lie the things that a visitor wants to try: the line to the hub, the paper roll, the guest's card, the way into the
office. The table reaches into no process: it uses the same wires, files and commands as the rest of the demo.
"""
