"""The domain: what a homeserver does, without HTTP and without SQL.

``app`` builds every object and hands it to those who use it; nothing else sees everything.
``rooms`` holds the journal, the one way by which an event gets into a room; ``sync`` answers /sync
from what the stream has made public; ``push`` decides whom an event notifies; ``mail`` sends
letters; ``search`` finds events by their words. The rest are small services, one module per
feature, with the same name in ``rest`` and ``storage``.

What surprises: work inside a write transaction runs on the writer's thread and may run twice, so it
does nothing but SQL; everything in memory belongs to the reactor's thread and follows the stream.
"""

__project__ = "hearth"
__version__ = "0.1.0"
