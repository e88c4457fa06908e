"""The local backend's cache: what it saves, and what eviction inside it does to answers."""
