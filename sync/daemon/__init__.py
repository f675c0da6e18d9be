"""The process kaisatsu-sync; `run` is its whole."""
