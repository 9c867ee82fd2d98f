"""The domain: rooms and their types, membership, sync, push, presence, media. Knows no HTTP and no SQL."""

__project__ = "hearth"
