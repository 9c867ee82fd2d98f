"""What end-to-end encryption needs from a server: keys, queues and lists of devices.

The server carries ciphertext and public keys and can read neither. Every upload is checked before
it is stored, so a broken key never reaches another client; every change of a device list commits
with the change of keys that caused it; a one-time key is handed out once, ever.
"""

__project__ = "hearth"
