"""`imports.py ROOM...`: imports every module of these rooms: the build of an image that lacks something fails."""

from __future__ import annotations

import importlib
import pkgutil
import sys


def modules(room: str) -> list[str]:
    """The names of the room and of all modules in it; their `__main__` are imported and not run."""
    package = importlib.import_module(room)
    return [room, *(found.name for found in pkgutil.walk_packages(package.__path__, f"{room}."))]


if __name__ == "__main__":
    names = [name for room in sys.argv[1:] for name in modules(room)]
    for name in names:
        importlib.import_module(name)
    print(f"{len(names)} modules import")
