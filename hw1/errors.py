"""The one error a user can mend, and how a stage ends on it."""

import sys
from collections.abc import Callable


class InputError(Exception):
    """Input that cannot be used: its message is one line that names the file or key and what to do."""


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's ``main``; an InputError becomes one line on stderr and exit status 1."""
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
