"""The benchmark: how fast is a homeserver for a whole neighbourhood, and what does it cost?

``client`` speaks the standard client-server API, ``scenarios`` are what people do, ``measure``
looks at the processes meanwhile, ``targets`` start the servers, ``output`` prints and draws.
``suite`` ties them together; README.md explains every number.
"""
