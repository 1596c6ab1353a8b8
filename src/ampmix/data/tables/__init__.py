"""Readers and streams of a user's own files."""
