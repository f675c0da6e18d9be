"""`python -m config` is `kaisatsu`."""

from config.command import main

main()
