"""HQ's console (`/hq`): a file a page, and what they share in `desk`, `filters` and `figures`.

Whoever may read sees all of it; only HQ changes anything. Pages show what the JSON answers, and
change things through the same functions.
"""
