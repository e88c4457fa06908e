"""The memory inside agent frameworks; each file skips where its framework is not installed."""
