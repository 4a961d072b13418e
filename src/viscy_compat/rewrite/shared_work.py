"""Work that several threads take from one queue, a piece at a time."""

from __future__ import annotations

from viscy_compat.annotations import Callable, Generic, Iterable, Iterator, TypeVar

Item = TypeVar("Item")


class SharedWork(Generic[Item]):
    """A queue of things to do, each of which is taken once.

    Parameters
    ----------
    items : Iterable[Item]
        What is to be done, in order.
    """

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = list(items)[::-1]

    def take(self) -> Iterator[Item]:
        """Yield what is next, until nothing is left.

        Examples
        --------
        >>> list(SharedWork("ab").take())
        ['a', 'b']
        """
        while self._items:
            try:
                item = self._items.pop()
            except IndexError:  # another thread took the last one
                return
            yield item

    def run(self, work: Callable[[SharedWork[Item]], None], *, threads: int) -> None:
        """Do the work in so many threads, or in this one, and wait; whatever it raises is raised here.

        Where one thread fails, or the wait is interrupted, nothing more is taken, and all threads have ended when this
        returns.
        """
        if threads < 2:
            work(self)
            return
        errors: list[BaseException] = []

        def attempt() -> None:
            try:
                work(self)
            except BaseException as error:  # noqa: BLE001 (raised again in the thread that waits)
                self._items.clear()
                errors.append(error)

        from threading import Thread

        started = [Thread(target=attempt) for _ in range(threads)]
        for thread in started:
            thread.start()
        try:
            for thread in started:
                thread.join()
        except BaseException:
            self._items.clear()
            raise
        finally:
            for thread in started:
                thread.join()
        if errors:
            raise errors[0]
