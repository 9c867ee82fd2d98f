"""HTTP only: parse, authorise, call the domain, answer.

A feature lists its endpoints as values (``routing.Route``): whoever reads the list knows who may
call, what the body must look like and which rate limit counts. ``connection`` reads requests within
their bounds, over llhttp; ``server`` turns results and refusals into answers; ``access`` is the one
place where a token becomes a requester.
"""

__project__ = "hearth"
