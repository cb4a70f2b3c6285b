"""Room for the keys and blocks of requests in flight, in classes of powers of two."""


class Arena:
    """Hands out ranges of one growing array; `size` is how large that array has to be."""

    def __init__(self) -> None:
        self.size = 0
        self._free: dict[int, list[int]] = {}

    def take(self, entries: int) -> int:
        """Start of a range of at least so many entries."""
        room = _class_of(entries)
        free = self._free.get(room)
        if free:
            return free.pop()
        start = self.size
        self.size += room
        return start

    def give_back(self, start: int, entries: int) -> None:
        """The range is free again."""
        self._free.setdefault(_class_of(entries), []).append(start)


def _class_of(entries: int) -> int:
    return 1 << max(entries - 1, 15).bit_length()
