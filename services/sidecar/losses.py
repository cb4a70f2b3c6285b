"""What is missing of an engine's history, and when it is certain that it does not matter any more.

It does not when the whole contents of the device are known again, and the engine has announced
nothing on the host (whose size is not told):

- AllBlocksCleared: the device is empty.
- The device is full of blocks that are known. Let t(h) be the physical blocks that the engine has
  cached under hash h, c(h) those that the mirror counts. While nothing is known, c = 0 <= t. Every
  event that is applied keeps c(h) <= t(h): a store adds one to both, or to t alone where a second
  announcement is no copy; a removal takes one from t, which is then at least 0, and one from c if
  that is not 0 yet. A physical block is cached under one hash, and the null block never is: the sum
  of t is at most the size of the pool less one. So when the sum of c reaches that, c(h) = t(h) for
  every h.

  That holds only if the missing history lies before all that is known (a lost removal would leave
  c too large), and if every hash counted is a block of its own: there is one KV group, and no
  partial blocks, which are further hashes of the same block.

Without replay there is no such certainty: the last batches may be lost at any time, unnoticed until
the next one comes.

An engine that has been under pressure gets there: vLLM reuses blocks without a hash first, so all
but a few are cached at any time, and all of them between the moment when a request's last block is
filled and its next one.
"""

from services.sidecar.block_map import BLOCKS, ENTRIES, BlockMap

NEVER_WHOLE = frozenset({"no-replay"})  # a lost tail of the stream would not be noticed


class Losses:
    """Of one mirror; `reason` is the first loss, empty when nothing is missing.

    :param pool_blocks: device blocks that the engine can cache in; 0 when that is not known.
    """

    def __init__(self, pool_blocks: int) -> None:
        self._pool_blocks = pool_blocks
        self._can_fill = pool_blocks > 0
        self.reason = ""

    def lose(self, reason: str, known_blocks: int) -> None:
        """Part of the history is missing; `known_blocks` on the device come from before it."""
        self.reason = self.reason or reason
        self._can_fill = self._can_fill and not known_blocks and reason not in NEVER_WHOLE

    def restore(self, reason: str) -> None:
        """Go on where another stood that may have known blocks."""
        self.reason = reason
        self._can_fill = self._can_fill and not reason

    def clear(self, host_used: bool) -> None:
        """The device is empty."""
        if not host_used and self.reason not in NEVER_WHOLE:
            self.reason = ""

    def see_shared_block(self) -> None:
        """There are hashes that are not blocks of their own."""
        self._can_fill = False

    def look(self, blocks: BlockMap, groups: int, host_used: bool) -> None:
        """End the loss when the known blocks of the device, row 0, fill the pool.

        :param groups: KV groups of the engine that are known.
        """
        if not self.reason or not self._can_fill or host_used or groups != 1:
            return
        if 2 * int(blocks.held[0, BLOCKS]) < self._pool_blocks:
            return  # more copies than that are not worth a look
        copies = int(blocks.copies[: int(blocks.totals[ENTRIES]), 0].sum())
        if copies == self._pool_blocks:
            self.reason = ""
        elif copies > self._pool_blocks:
            self._can_fill = False  # this is not the pool that we think it is
