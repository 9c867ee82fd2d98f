"""Is what the server answers what the Matrix specification says?

``validate`` checks single answers, ``check_routes`` calls every route of a running server. Both
read the OpenAPI files and event schemas of the specification: in the folder that HEARTH_SPEC_DIR
names, else in a checkout of matrix-spec (or in a folder ``spec`` one level down) beside this one.
Where there are no such files nothing can be checked, and nothing fails.
"""

import os
from pathlib import Path

MISSING = (
    "The specification's files are not here (set HEARTH_SPEC_DIR to a checkout of"
    " github.com/matrix-org/matrix-spec): answers are not checked against it."
)


def find_spec() -> Path | None:
    """The folder that holds ``data/api`` and ``data/event-schemas``."""
    named = os.environ.get("HEARTH_SPEC_DIR")
    beside = Path(__file__).parents[3]
    found = [beside / "matrix-spec", *sorted(beside.glob("*/spec"))]
    candidates = [Path(named)] if named else found
    return next((each for each in candidates if (each / "data/api/client-server").is_dir()), None)
