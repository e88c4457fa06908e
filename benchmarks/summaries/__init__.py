"""What a summary keeps, what it refuses, and what that costs."""
