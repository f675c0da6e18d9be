"""`python -m emulators printer|terminal|square|paypay ...`: the programs at the other end of the wires. `--help` has the grammar."""

import argparse
import asyncio
import importlib
import sys
from typing import NoReturn

from emulators.errors import EmulatorError
from emulators.events import configure_log

DEVICES = {
    "printer": "emulators.printer.run",
    "terminal": "emulators.terminal.run",
    "square": "emulators.square.run",
    "paypay": "emulators.paypay.run",
}


class OneLineParser(argparse.ArgumentParser):
    """A wrong call is one line; the grammar is a question away."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: list[str] | None = None) -> int:
    """Run one device until SIGTERM; 2 and one line on standard error for a wrong option."""
    words = sys.argv[1:] if arguments is None else arguments
    parser = OneLineParser(prog="emulators", description=__doc__)
    commands = parser.add_subparsers(dest="device", required=True, metavar="|".join(DEVICES))
    modules = {}
    for name, path in DEVICES.items():
        device = commands.add_parser(name)
        if name in words[:1]:  # the other devices' imports are not this process's
            modules[name] = importlib.import_module(path)
            modules[name].add_arguments(device)
    options = parser.parse_args(words)
    configure_log()
    try:
        asyncio.run(modules[options.device].serve(options))
    except EmulatorError as error:
        print(f"emulators {options.device}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
