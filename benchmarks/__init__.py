"""Measured claims: one command per case, answers checked in the same run."""
