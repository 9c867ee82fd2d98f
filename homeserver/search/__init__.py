"""Full text search: words, the index that follows the journal, and questions to it.

``words`` cuts texts into words in the same way for both database engines; ``index`` writes them
down in the transaction of their event, ``backlog`` those that were there before; ``search`` finds
what somebody may see, and ``shown`` puts the answer together.
"""
