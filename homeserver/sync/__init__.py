"""/sync: tokens, filters, timelines, and the parts that contribute to an answer."""
