"""The tokens of ``next_batch``: how far a reader has come, in everything or in one group."""

import re

from attrs import frozen

from schema.errors import InvalidParam
from storage.search import Extent, Place

_TOKEN = re.compile(
    r"(?P<upto>[0-9]{1,18})_(?P<count>[0-9]{1,9})_(?P<first>[0-9]{1,18})"
    r"_(?P<length>[0-9]{1,18})_(?P<position>[0-9]{1,18})"
    r"(?:_(?P<key>room_id|sender)_(?P<value>.{1,255}))?",
)


@frozen
class Group:
    """The hits in one room, or by one sender."""

    key: str
    value: str


@frozen
class Batch:
    """What comes after a place: five numbers; in a group ``_<key>_<value>`` more.

    Every page shows the same moment, ``upto`` on the stream, and ranks the same part of what there
    is, so that nothing moves from one page to another meanwhile.
    """

    upto: int
    extent: Extent
    """Of everything, in a group as well."""
    place: Place
    group: Group | None = None

    def __str__(self) -> str:
        numbers = (
            self.upto,
            self.extent.count,
            self.extent.first,
            self.place.length,
            self.place.position,
        )
        text = "_".join(map(str, numbers))
        return text if self.group is None else f"{text}_{self.group.key}_{self.group.value}"

    @classmethod
    def parse(cls, text: str) -> "Batch":
        """Raises: InvalidParam: this server did not make that token."""
        match = _TOKEN.fullmatch(text)
        if match is None:
            raise InvalidParam(f"{text[:80]!r} is not a token of a search")
        extent = Extent(int(match["count"]), int(match["first"]))
        place = Place(int(match["length"]), int(match["position"]))
        group = None if match["key"] is None else Group(match["key"], match["value"])
        return cls(int(match["upto"]), extent, place, group)
