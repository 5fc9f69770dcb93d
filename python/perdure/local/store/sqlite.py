"""Executions in an SQLite file: what was acknowledged is there after any crash of the process.

One transaction holds everything a call has changed, in however many executions, and what other calls have changed by
the time it begins. The file belongs to one process at a
time: SQLite's exclusive lock is held for as long as the store is open, and the operating system lets go of it when
the process dies. With `synchronous="NORMAL"`, in WAL mode, a commit survives the death of the process; surviving the
loss of power as well takes `"FULL"`, which waits for the disk.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from perdure._core import encode_json
from perdure.local.machine import history
from perdure.local.machine.clock import from_millis, to_millis
from perdure.local.store import StoreError, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from datetime import datetime
    from os import PathLike

    from perdure.local.machine.execution import Execution
    from perdure.local.machine.history import Event
    from perdure.local.machine.limits import Limits
    from perdure.local.store import Position, Query, Summary

Row = tuple[Any, ...]
SCHEMA_VERSION = 1
_APPLICATION_ID = 0x50455244  # "PERD"
_SCHEMA = """
CREATE TABLE executions (
    key INTEGER PRIMARY KEY,
    arn TEXT NOT NULL UNIQUE,
    function TEXT NOT NULL,
    version TEXT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    started INTEGER NOT NULL,
    ended INTEGER,
    expires INTEGER,
    state TEXT NOT NULL,
    UNIQUE (function, name)
);
CREATE INDEX executions_by_start ON executions (function, started, key);
CREATE INDEX executions_running ON executions (key) WHERE ended IS NULL;
CREATE INDEX executions_by_expiry ON executions (expires) WHERE expires IS NOT NULL;
CREATE TABLE operations (
    position INTEGER PRIMARY KEY,
    execution INTEGER NOT NULL,
    id TEXT NOT NULL,
    body TEXT NOT NULL,
    note TEXT,
    UNIQUE (execution, id)
);
CREATE TABLE events (
    execution INTEGER NOT NULL,
    number INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (execution, number)
) WITHOUT ROWID;
"""
_SAVE = """
INSERT INTO executions (key, arn, function, version, name, status, started, ended, expires, state)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET status = excluded.status, ended = excluded.ended, expires = excluded.expires,
    state = excluded.state
"""
_SAVE_OPERATION = """
INSERT INTO operations (execution, id, body, note) VALUES (?, ?, ?, ?)
ON CONFLICT (execution, id) DO UPDATE SET body = excluded.body, note = excluded.note
"""
_SAVE_EVENT = "INSERT INTO events (execution, number, body) VALUES (?, ?, ?)"


_WRITABLE = "The folder must be there, and both it and the file writable."
_MAGIC = b"SQLite format 3\0"
_SMALLEST = 512
"""Bytes of the smallest page, and so of the smallest database."""
_NOT_A_DATABASE, _CORRUPT, _SHORT_READ = 26, 11, 522
"""Codes of SQLite; what has lost its tables, or holds no text, has none of its own."""
_SIGNS_OF_DAMAGE = ("Could not decode", "no such table", "no such column")
_BRIEF = 200


class SqliteStore:
    """Executions in a file. Finished ones are read when somebody asks for them; the others are in memory, too.

    Args:
        path: the file; it is made if it is not there.
        synchronous: SQLite's pragma of that name: `NORMAL` or `FULL`.

    Raises:
        StoreError: another process uses the file, a newer perdure has written it, or it is no database of perdure's.

    """

    evicts = True

    def __init__(self, path: str | PathLike[str], *, synchronous: str = "NORMAL") -> None:
        if synchronous not in ("NORMAL", "FULL"):
            raise ValueError(f"synchronous must be NORMAL or FULL, not {synchronous!r}.")
        self.path = path
        self._live: dict[str, Execution] = {}
        self._names: dict[tuple[str, str], Execution] = {}
        self._functions: dict[str, tuple[int, str]] = {}
        self._mutex = Lock()  # of the connection: a transaction is written while the service does other things
        self._staged: tuple[list[Row], list[Row], list[Row]] = ([], [], [])  # of executions, operations, events
        self._limits: Limits
        self._retry_delay: Callable[[int], float]
        _make(path)
        try:
            self._db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        except sqlite3.OperationalError as problem:
            raise StoreError(f"{path} cannot be opened: {problem}. {_WRITABLE}") from problem
        try:
            self._prepare(synchronous)
            self._next_key = self._one("SELECT coalesce(max(key), 0) + 1 FROM executions")
        except BaseException:
            self._db.close()
            raise

    def _prepare(self, synchronous: str) -> None:
        """Take the lock, and make or check the schema."""
        run = self._db.execute
        try:
            run("PRAGMA locking_mode = EXCLUSIVE")
            run("BEGIN EXCLUSIVE")
            version, application = self._one("PRAGMA user_version"), self._one("PRAGMA application_id")
            tables = self._one("SELECT count(*) FROM sqlite_master")
            if (tables or version) and application != _APPLICATION_ID:
                raise StoreError(f"{self.path} is an SQLite database, but none of perdure's; give another file.")
            if version > SCHEMA_VERSION:
                raise StoreError(
                    f"{self.path} was written by a newer perdure (schema {version}, this one knows up to "
                    f"{SCHEMA_VERSION}); update perdure, or give another file."
                )
            if not tables:
                for statement in _SCHEMA.split(";"):
                    run(statement)
                run(f"PRAGMA application_id = {_APPLICATION_ID}")
                run(f"PRAGMA user_version = {SCHEMA_VERSION}")
            run("COMMIT")
            run("PRAGMA journal_mode = WAL")
            run(f"PRAGMA synchronous = {synchronous}")
        except sqlite3.DatabaseError as problem:
            if _is_damage(problem):
                raise self._damaged(problem) from problem
            if "locked" in str(problem):
                raise StoreError(
                    f"{self.path} is in use by another process; stop that one first, or give another file."
                ) from problem
            raise StoreError(f"{self.path} cannot be used: {problem}. {_WRITABLE}") from problem

    def open(self, limits: Limits, retry_delay: Callable[[int], float]) -> None:
        """Read the executions that have not ended, and finish deletions that waited for an invocation to end."""
        self._limits, self._retry_delay = limits, retry_delay
        for (arn,) in self._rows("SELECT arn FROM executions WHERE status = 'DELETING'"):
            self.delete(arn)
        for row in self._rows("SELECT key, arn, function, state FROM executions WHERE ended IS NULL ORDER BY key"):
            execution = self._load(*row)
            self._live[execution.arn] = execution
            self._names[row[2], execution.name] = execution

    def add(self, execution: Execution, function: str) -> None:
        """Take a new execution; `commit` writes it."""
        self._functions[execution.arn] = (self._next_key, function)
        self._next_key += 1
        self._live[execution.arn] = execution
        self._names[function, execution.name] = execution

    def get(self, arn: str) -> Execution | None:
        """Return an execution by its ARN."""
        execution = self._live.get(arn)
        if execution is not None:
            return execution
        row = self._first("SELECT key, arn, function, state FROM executions WHERE arn = ?", arn)
        return None if row is None else self._load(*row)

    def find(self, function: str, name: str) -> Execution | None:
        """Return the execution of a function that bears a name."""
        execution = self._names.get((function, name))
        if execution is not None:
            return execution
        row = self._first(
            "SELECT key, arn, function, state FROM executions WHERE function = ? AND name = ?", function, name
        )
        return None if row is None else self._load(*row)

    def running(self) -> Iterable[Execution]:
        """Return the executions that have not ended, oldest first."""
        return [execution for execution in self._live.values() if not execution.terminal]

    def stage(self, executions: Collection[Execution]) -> Callable[[], None]:
        """Take note of what has changed in these executions; return what writes it, in one transaction."""
        for execution in executions:
            self._stage(execution)
        return self._write

    def settle(self, execution: Execution) -> None:
        """Hold a finished execution no longer in memory."""
        self._live.pop(execution.arn, None)
        known = self._functions.pop(execution.arn, None)
        if known is not None:
            self._names.pop((known[1], execution.name), None)

    def delete(self, arn: str) -> None:
        """Forget an execution and its history."""
        execution = self._live.get(arn)
        if execution is not None:
            self.settle(execution)
        row = self._first("SELECT key FROM executions WHERE arn = ?", arn)
        if row is None:
            return
        with self._transaction() as db:
            db.execute("DELETE FROM executions WHERE key = ?", row)
            db.execute("DELETE FROM operations WHERE execution = ?", row)
            db.execute("DELETE FROM events WHERE execution = ?", row)

    def history(self, execution: Execution, first: int, last: int) -> list[Event]:
        """Return events by their numbers."""
        rows = self._rows(
            "SELECT body FROM events WHERE execution = ? AND number BETWEEN ? AND ? ORDER BY number",
            self._key(execution.arn)[0],
            first,
            last,
        )
        with self._readable():
            return [snapshot.from_plain(json.loads(body)) for (body,) in rows]

    def page(self, query: Query, size: int) -> tuple[list[Summary], Position | None]:
        """Return a page of summaries."""
        order, beyond = ("ASC", ">") if query.oldest_first else ("DESC", "<")
        conditions, values = ["function = ?"], [query.function]
        optional: list[tuple[str, list[Any] | None]] = [
            ("version = ?", None if query.version is None else [query.version]),
            ("name = ?", None if query.name is None else [query.name]),
            (f"status IN ({','.join('?' * len(query.statuses))})", sorted(query.statuses) or None),
            ("started > ?", None if query.after is None else [to_millis(query.after)]),
            ("started < ?", None if query.before is None else [_millis_up(query.before)]),
            (f"(started, key) {beyond} (?, ?)", None if query.position is None else list(query.position)),
        ]
        for condition, given in optional:
            if given is not None:
                conditions.append(condition)
                values += given
        rows = self._rows(
            "SELECT arn, name, status, started, ended, key FROM executions "  # noqa: S608 - only our own words
            f"WHERE {' AND '.join(conditions)} ORDER BY started {order}, key {order} LIMIT ?",
            *values,
            size + 1,
        )
        page = [_summary(*row[:5]) for row in rows[:size]]
        return page, (rows[size - 1][3], rows[size - 1][5]) if len(rows) > size else None

    def expired(self, now: datetime) -> list[str]:
        """Return the ARNs of the executions whose retention has ended."""
        return [arn for (arn,) in self._rows("SELECT arn FROM executions WHERE expires <= ?", to_millis(now))]

    def next_expiry(self) -> datetime | None:
        """Return when the next retention ends."""
        millis = self._one("SELECT min(expires) FROM executions WHERE expires IS NOT NULL")
        return None if millis is None else from_millis(millis)

    def close(self) -> None:
        """Let go of the file."""
        with self._mutex:
            self._db.close()

    # -- rows ------------------------------------------------------------------------------------------------------

    def _rows(self, statement: str, *values: Any) -> list[Row]:
        with self._telling_damage(), self._mutex:
            return self._db.execute(statement, values).fetchall()

    @contextmanager
    def _telling_damage(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as problem:
            if _is_damage(problem):
                raise self._damaged(problem) from problem
            raise

    def _damaged(self, problem: Exception) -> StoreError:
        if getattr(problem, "sqlite_errorcode", 0) == _NOT_A_DATABASE and not _has_magic(self.path):
            return StoreError(f"{self.path} is not an SQLite database. Give another file.")
        why = f"{type(problem).__name__}: {problem}"
        return StoreError(
            f"{self.path} is damaged: {why if len(why) <= _BRIEF else f'{why[:_BRIEF]}…'}. Restore it from a copy, or "
            f"give another file; `sqlite3 {self.path} .recover` may save some of it."
        )

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Read what this class has written; whatever cannot be read is damage."""
        try:
            yield
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as problem:
            raise self._damaged(problem) from problem

    def _first(self, statement: str, *values: Any) -> Row | None:
        return next(iter(self._rows(statement, *values)), None)

    def _one(self, statement: str) -> Any:
        return self._rows(statement)[0][0]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Take turns, and do all of it or nothing."""
        db = self._db
        with self._telling_damage(), self._mutex:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def _key(self, arn: str) -> tuple[int, str]:
        known = self._functions.get(arn)
        if known is None:
            key, function = self._rows("SELECT key, function FROM executions WHERE arn = ?", arn)[0]
            known = key, function
        return known

    def _stage(self, execution: Execution) -> None:
        key, function = self._key(execution.arn)
        expires = execution.expires_at
        executions, changed, events = self._staged
        executions.append(
            (
                key,
                execution.arn,
                function,
                execution.version,
                execution.name,
                execution.shown_status,
                to_millis(execution.started_at),
                None if execution.ended_at is None else to_millis(execution.ended_at),
                None if expires is None else to_millis(expires),
                encode_json(snapshot.dump(execution)),
            )
        )
        operations, notes = execution.operations, execution.notes
        for id_ in execution.unsaved:
            note = encode_json(notes[id_]) if id_ in notes else None
            changed.append((key, id_, encode_json(snapshot.to_plain(operations[id_])), note))
        for record in execution.log:
            events.append((key, record.number, encode_json(snapshot.to_plain(history.render(record)))))
        execution.unsaved.clear()
        execution.log.clear()

    def _write(self) -> None:
        """Write what is staged; it stays staged until it is safe."""
        executions, changed, events = self._staged
        with self._transaction() as db:
            db.executemany(_SAVE, executions)
            db.executemany(_SAVE_OPERATION, changed)
            db.executemany(_SAVE_EVENT, events)
        self._staged = ([], [], [])

    def _load(self, key: int, arn: str, function: str, state: str) -> Execution:
        rows = self._rows("SELECT body, note FROM operations WHERE execution = ? ORDER BY position", key)
        with self._readable():
            operations = [
                (snapshot.from_plain(json.loads(body)), None if note is None else json.loads(note))
                for body, note in rows
            ]
            execution = snapshot.load(arn, json.loads(state), operations, self._limits, self._retry_delay)
        if not execution.terminal:
            self._functions[arn] = (key, function)
        return execution


def _make(path: str | PathLike[str]) -> None:
    """Make a file that is not there, for its owner alone, as what SQLite puts beside it then is, too.

    One that is there is not opened here: to close it again would take its locks from a store of this process that has
    it open (POSIX takes them from the process, whichever descriptor is closed).

    Raises:
        StoreError: it is too short for a database. SQLite would take it for an empty one, and overwrite it.

    """
    if str(path) in ("", ":memory:"):
        return
    with suppress(OSError):  # SQLite says why it cannot have it
        target = os.path.realpath(path)
        if os.path.exists(target):  # noqa: PTH110 - beside realpath
            if 0 < os.stat(target).st_size < _SMALLEST:  # noqa: PTH116 - the same
                raise StoreError(_cut_off(path))
        else:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _cut_off(path: str | PathLike[str]) -> str:
    """Say what a file is that is too short for a database; no store can have it open."""
    if _has_magic(path):
        return f"{path} is damaged: it was cut off. Restore it from a copy, or give another file."
    return f"{path} is not an SQLite database. Give another file."


def _has_magic(path: str | PathLike[str]) -> bool:
    """Tell whether a file begins as a database does, though SQLite would not have it."""
    with suppress(OSError), Path(path).open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC
    return False


def _is_damage(problem: sqlite3.DatabaseError) -> bool:
    code = getattr(problem, "sqlite_errorcode", 0)
    if code & 0xFF in (_NOT_A_DATABASE, _CORRUPT) or code == _SHORT_READ:
        return True
    return any(sign in str(problem) for sign in _SIGNS_OF_DAMAGE)


def _millis_up(moment: datetime) -> int:
    """Return Unix milliseconds such that `started < millis` means that the start was before the moment."""
    millis = to_millis(moment)
    return millis if from_millis(millis) == moment else millis + 1


def _summary(arn: str, name: str, status: str, started: int, ended: int | None) -> Summary:
    described: Summary = {
        "DurableExecutionArn": arn,
        "DurableExecutionName": name,
        "FunctionArn": arn.partition("/durable-execution/")[0],
        "Status": status,
        "StartTimestamp": from_millis(started),
    }
    if ended is not None:
        described["EndTimestamp"] = from_millis(ended)
    return described
