"""The page that `samspl serve` shows (extra ``ui``)."""
