"""What each policy keeps of long conversations, with the question unseen."""
