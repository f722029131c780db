"""Where the state lies: one SQLite file, in which a resource is what its Describe operation answers, and notes of ours.

A transaction is durable when it returns, whatever is killed then.
"""

from __future__ import annotations

import copy
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS resources (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    document TEXT NOT NULL,
    notes TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tags (
    arn TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (arn, key)
) WITHOUT ROWID;
"""


@dataclass
class Resource:
    """A resource of `kind`: `document` is what Describe answers, `notes` is what only this server needs to know."""

    kind: str
    name: str
    document: Json
    notes: Json = field(default_factory=dict)


Watcher = Callable[[Resource | None, Resource], None]


class Store:
    """Thread-safe. Raises `sqlite3.Error` when the disk fails."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; {_SCHEMA}")
        self._depth = 0
        self._watchers: list[Watcher] = []
        self._changes: list[tuple[Resource | None, Resource]] = []

    def watch(self, watcher: Watcher) -> None:
        """Calls `watcher` with each resource as it was (None: it is new) and as it is, once that is durable. It must
        be quick and leave the store alone."""
        self._watchers.append(watcher)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The connection to ourselves: all of it happens, or nothing. A transaction within another joins it."""
        with self._lock:
            if self._depth:
                yield self._connection
                return
            self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                self._changes.clear()
                raise
            else:
                self._connection.execute("COMMIT")
                self._report()
            finally:
                self._depth -= 1

    def _report(self) -> None:
        changes, self._changes = self._changes, []
        for before, after in changes:
            for watcher in self._watchers:
                watcher(before, after)

    def get(self, kind: str, name: str) -> Resource | None:
        with self._lock:
            row = self._connection.execute(
                "SELECT document, notes FROM resources WHERE kind = ? AND name = ?", (kind, name)
            ).fetchone()
        return Resource(kind, name, json.loads(row[0]), json.loads(row[1])) if row else None

    def all(self, kind: str) -> list[Resource]:
        with self._lock:
            rows = self._connection.execute(
                "SELECT name, document, notes FROM resources WHERE kind = ? ORDER BY name", (kind,)
            ).fetchall()
        return [Resource(kind, name, json.loads(document), json.loads(notes)) for name, document, notes in rows]

    def add(self, resource: Resource) -> bool:
        """Stores a new resource; False when there is one of that name."""
        with self.transaction() as connection:
            done = connection.execute(
                "INSERT OR IGNORE INTO resources (kind, name, document, notes) VALUES (?, ?, ?, ?)",
                (resource.kind, resource.name, json.dumps(resource.document), json.dumps(resource.notes)),
            )
            if done.rowcount == 1:
                self._changes.append((None, copy.deepcopy(resource)))
            return done.rowcount == 1

    def change(self, kind: str, name: str, function: Callable[[Resource], None]) -> Resource | None:
        """Lets `function` change the resource in place, in a transaction; the changed resource, or None if there
        is none."""
        with self.transaction() as connection:
            resource = self.get(kind, name)
            if resource is not None:
                before = copy.deepcopy(resource)
                function(resource)
                self._changes.append((before, copy.deepcopy(resource)))
                connection.execute(
                    "UPDATE resources SET document = ?, notes = ? WHERE kind = ? AND name = ?",
                    (json.dumps(resource.document), json.dumps(resource.notes), kind, name),
                )
            return resource

    def delete(self, kind: str, name: str) -> bool:
        """False when there was none."""
        with self.transaction() as connection:
            done = connection.execute("DELETE FROM resources WHERE kind = ? AND name = ?", (kind, name))
            return done.rowcount == 1

    def tags(self, arn: str) -> list[dict[str, str]]:
        with self._lock:
            rows = self._connection.execute("SELECT key, value FROM tags WHERE arn = ? ORDER BY key", (arn,))
            return [{"Key": key, "Value": value} for key, value in rows]

    def set_tags(self, arn: str, tags: list[dict[str, str]]) -> None:
        with self.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO tags (arn, key, value) VALUES (?, ?, ?)",
                [(arn, tag["Key"], tag["Value"]) for tag in tags],
            )

    def delete_tags(self, arn: str, keys: list[str] | None = None) -> None:
        """Deletes the tags with `keys`, or all of the resource."""
        keys = [tag["Key"] for tag in self.tags(arn)] if keys is None else keys
        with self.transaction() as connection:
            connection.executemany("DELETE FROM tags WHERE arn = ? AND key = ?", [(arn, key) for key in keys])
