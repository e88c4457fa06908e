"""Whether what was said is found again, in ten languages and five scripts."""
