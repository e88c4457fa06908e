"""How far the default token counter is from real tokenizers, and how its weights were fitted."""
