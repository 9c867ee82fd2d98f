"""What encryption needs from a server: keys and ciphertext, carried and counted, never read.

An upload is checked by ``signatures`` before anything is stored. ``devices``, ``one_time_keys``,
``cross_signing`` and ``key_backup`` own what clients publish; ``key_queries`` answers from it.
Whatever others must notice goes onto the stream in the transaction that causes it:
``device_lists`` says whose keys to ask for again, ``to_device`` keeps the queues of messages.
"""

__project__ = "hearth"
