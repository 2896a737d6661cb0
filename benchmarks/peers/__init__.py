"""The contestants, ours among them: each a function that does the whole job of its case once."""
