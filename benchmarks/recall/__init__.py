"""How much of what a question needs stands in its context, and what that costs."""
