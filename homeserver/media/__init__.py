"""The content repository: files that people share, kept on disk under ids of this server.

``media`` is its face: uploads, downloads, thumbnails. ``files`` keeps and reads the bytes; a row of
``storage.media`` says which file a media id means. ``thumbnails`` lets ``thumbnail_worker``, a
program of its own, decode pictures; ``sealing`` is the form of files that only a key opens.
``quotas`` count bytes, ``uses`` knows when a file may go, ``housekeeping`` and ``orphans`` remove
what nobody can use any more. ``names`` says what of a client's words about a file is told
on, ``arrivals`` who waits for an upload that was only announced.
"""
