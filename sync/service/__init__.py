"""What every daemon of a device needs in order to run: its settings file, logs, readiness, doorbell and health row.

Standard library and structlog only, so that the smallest process stays small.
"""
