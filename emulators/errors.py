"""The one root of what an emulator can complain about; each error carries a stable code for its event line."""


class EmulatorError(Exception):
    """Base of everything raised here. `code` is stable and goes into the event line."""

    code = "emulator"


class BadSpec(EmulatorError):
    """A `--fault` text or a command on standard input that is not in the grammar; the message says what is allowed."""

    code = "bad_spec"


class BadSetting(EmulatorError):
    """A command line option that cannot work here (a busy port, a path that is taken)."""

    code = "bad_setting"
