"""What the server does for people on an ordinary day, told as stories.

Neighbours speak to it as clients do, and only what comes with /sync decides what they see. Each
story is long enough for the server to be restarted in its middle. Start reading here to learn what
the server is for; the rules in detail are in the tests beside this package.
"""
