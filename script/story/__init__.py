"""The demo: a made-up venue of real processes on this machine, and the story that is played in it.

It uses the same commands and settings files as an installed device and reaches into no process: it clicks with a real pointer,
holds paper in front of the gate's camera, pulls a cable, and looks at what came of it.
"""
