"""What runs on this machine, from /proc."""

from pathlib import Path


def descendants(pid: int) -> list[int]:
    """Process numbers of the children, theirs and so on."""
    children = [number for number, parent in parents().items() if parent == pid]
    return children + [found for child in children for found in descendants(child)]


def parents() -> dict[int, int]:
    """Every process's parent."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            found[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
            continue
    return found


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
