"""The composition root: layered settings, the `kaisatsu` command, enrolment.

Nobody imports this package, and it imports each part only when the command that needs it runs.
"""
