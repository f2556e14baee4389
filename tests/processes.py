"""Processes of this machine."""

import psutil


def descendants(pid: int) -> list[int]:
    """Process numbers of the children, theirs and so on; none of a process that has ended."""
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
