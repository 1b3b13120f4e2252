"""How much space an image takes, folder by folder, and how much of that is its own."""

from __future__ import annotations

from imageserver.index.summary import SummaryIndex
from imageserver.model.stored_tree import Place, StoredTree


class ImageSpace:
    """How much of an image only this image uses.

    Attributes:
        object_bytes: the size of its objects, each counted once.
        own_bytes: of those that no other image uses.
    """

    def __init__(self, tree: StoredTree, summaries: SummaryIndex) -> None:
        """Look at ``tree``; ``summaries`` knows how often objects are used."""
        self._tree = tree
        contents = list(tree.contents())
        links: dict[bytes, int] = {}
        sizes: dict[bytes, int] = {}
        for _, hash_, size in contents:
            links[hash_] = links.get(hash_, 0) + 1
            sizes[hash_] = size
        references = summaries.reference_counts_of(list(sizes))
        own = {hash_ for hash_, n in links.items() if references.get(hash_, 0) <= n}
        self.object_bytes = sum(sizes.values())
        self.own_bytes = sum(sizes[hash_] for hash_ in own)
        self._sizes = {number: size for number, _, size in contents}
        self._own = {number for number, hash_, _ in contents if hash_ in own}

    def folders(self, number: int) -> list[tuple[Place, int, int]]:
        """What is in a folder, with all bytes below it and the own ones, largest first.

        Files that are the same are counted each time.
        """
        if not self._tree.is_directory(number):
            return []
        rows = [(it, *self._below(it.number)) for it in self._tree.entries(number)]
        return sorted(rows, key=lambda row: (-row[1], row[0].name))

    def _below(self, number: int) -> tuple[int, int]:
        size = own = 0
        unvisited = [number]
        while unvisited:
            number = unvisited.pop()
            if self._tree.is_directory(number):
                unvisited += [place.number for place in self._tree.entries(number)]
                continue
            bytes_ = self._sizes.get(number, 0)
            size += bytes_
            own += bytes_ if number in self._own else 0
        return size, own
