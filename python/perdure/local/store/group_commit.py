"""Group commit: what calls have changed is written by one of them for all, while the others go on.

A call is answered when what it saw and changed is safe. Whoever comes first writes, with the service's lock let go;
whoever comes meanwhile changes what it has to, waits, and shares the next transaction with all who came by then.
"""

from __future__ import annotations

from threading import Condition
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from threading import RLock

    from perdure.local.machine.execution import Execution
    from perdure.local.store import Store


class GroupCommit:
    """What stands between the executions and their store. Everything is called under the service's lock.

    Args:
        store: Where executions are kept.
        lock: The service's lock.
        kept: Told of executions that have been written and have not changed since.

    """

    def __init__(self, store: Store, lock: RLock, kept: Callable[[Collection[Execution]], None]) -> None:
        self._store = store
        self._lock = lock
        self._kept = kept
        self._turn = Condition(lock)
        self._changed: dict[str, Execution] = {}
        self._writing = False
        self._number = 1  # of the transaction that will hold what changes now
        self._safe = 0  # the last one that is safe

    def touch(self, execution: Execution) -> None:
        """Note that an execution has changed."""
        self._changed[execution.arn] = execution

    def forget(self, arn: str) -> None:
        """Keep nothing more of an execution."""
        self._changed.pop(arn, None)
        self._store.delete(arn)

    def commit(self) -> bool:
        """Return when everything that has changed is safe; tell whether the lock was let go meanwhile.

        Raises:
            sqlite3.Error: It could not be written. It is kept in mind, and the next commit tries again.

        """
        wanted = self._number if self._changed else self._number - 1
        waits = self._safe < wanted
        while self._safe < wanted:
            if self._writing:
                self._turn.wait()
            else:
                self._write()
        return waits

    def _write(self) -> None:
        changed, self._changed = self._changed, {}
        number, self._number = self._number, self._number + 1
        self._writing = True
        try:
            write = self._store.stage(changed.values())
            if write is not None:
                self._lock.release()
                try:
                    write()
                finally:
                    self._lock.acquire()
            self._safe = number
        except BaseException:
            self._changed = {**changed, **self._changed}
            raise
        finally:
            self._writing = False
            self._turn.notify_all()
        self._kept([execution for arn, execution in changed.items() if arn not in self._changed])
