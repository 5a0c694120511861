"""One transaction for all who wait: a commit costs a disk its time once, however many rows it makes durable.

Nobody waits for company. Who comes while nothing is written leads at once, with a batch of one; who comes meanwhile
waits, and all who waited are the next batch, led by the first of them.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from ichd.domain.errors import Transient

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

#: Keeps transactions short for those who wait for the same locks.
_LARGEST_BATCH = 64


class _Ticket(Generic[_Item, _Result]):
    """One item, from its coming to its outcome."""

    def __init__(self, item: _Item) -> None:
        self.item = item
        #: None until it is written, or until its thread is to lead.
        self.result: _Result | None = None
        self.error: Exception | None = None
        self.done = False
        self.called = threading.Lock()
        self.called.acquire()


class GroupCommit(Generic[_Item, _Result]):
    """Safe for any number of threads of one process; each `submit` returns after the commit that holds its item."""

    def __init__(self, write: Callable[[Sequence[_Item]], Sequence[_Result]]) -> None:
        """`write` writes all of a batch in one transaction, or nothing where it raises."""
        self._write = write
        self._waiting: list[_Ticket[_Item, _Result]] = []
        self._led = False
        self._lock = threading.Lock()

    def submit(self, item: _Item) -> _Result:
        """Have an item written, alone or in company.

        Raises:
            Transient: the database does not answer; nothing is known of the item.
            Exception: what `write` raises over this item alone.
        """
        ticket: _Ticket[_Item, _Result] = _Ticket(item)
        with self._lock:
            self._waiting.append(ticket)
            leads, self._led = not self._led, True
        if not leads:
            ticket.called.acquire()
        if not ticket.done:
            self._lead()
        if ticket.error is not None:
            raise ticket.error
        return ticket.result  # type: ignore[return-value]  # done without an error: it has one

    def _lead(self) -> None:
        """Write the batch that waits, the caller's ticket first in it, and call the next leader."""
        with self._lock:
            batch, self._waiting = self._waiting[:_LARGEST_BATCH], self._waiting[_LARGEST_BATCH:]
        try:
            self._settle(batch)
        finally:
            with self._lock:
                successor = self._waiting[0] if self._waiting else None
                self._led = successor is not None
            # Called first: the disk need not wait for those who only go home.
            if successor is not None:
                successor.called.release()
            for ticket in batch[1:]:
                ticket.called.release()

    def _settle(self, batch: Sequence[_Ticket[_Item, _Result]]) -> None:
        """Write a batch; where one of it is not to be written, each alone, so that it spoils nothing but itself."""
        try:
            self._write_together(batch)
        except Transient as error:
            # The database is away for one as for all; each trying for itself would only keep the senders waiting.
            _fail(batch, error)
        except Exception as error:  # noqa: BLE001 - raised again by the thread whose item it was
            if len(batch) == 1:
                batch[0].done, batch[0].error = True, error
                return
            for number, ticket in enumerate(batch):
                self._settle([ticket])
                if isinstance(ticket.error, Transient):
                    _fail(batch[number + 1 :], ticket.error)
                    return

    def _write_together(self, batch: Sequence[_Ticket[_Item, _Result]]) -> None:
        results = self._write([ticket.item for ticket in batch])
        for ticket, result in zip(batch, results, strict=True):
            ticket.done, ticket.result = True, result


def _fail(batch: Sequence[_Ticket[_Item, _Result]], error: Transient) -> None:
    for ticket in batch:
        # One for each: a raised error collects the frames of its thread.
        ticket.done, ticket.error = True, Transient(error.reason, error.detail)
