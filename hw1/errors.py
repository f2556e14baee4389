"""The one error a user can mend, and how a stage ends on it."""

import errno
import sys
from collections.abc import Callable


class InputError(Exception):
    """Input that cannot be used: its message is one line that names the file or key and what to do."""


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's ``main``: what a user can mend becomes one line on stderr and exit status 1."""
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        sys.exit(f"error: {error.filename or 'output'}: {error.strerror}; free some space or mend the permissions")
    except KeyboardInterrupt:
        sys.exit(130)
