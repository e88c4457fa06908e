"""The memory inside agent frameworks, beside their own trimming."""
