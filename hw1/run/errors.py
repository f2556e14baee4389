"""The one error a user can mend."""


class InputError(Exception):
    """Input that cannot be used: its message is one line that names the file or key and what to do."""
