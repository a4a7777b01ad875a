"""HQ's console (`/hq`): a file a page, and what they share in `desk`, `filters` and `assets`."""
