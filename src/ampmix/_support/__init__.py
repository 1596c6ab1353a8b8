"""Helpers that know nothing of texts or models: files, downloads, components, wording."""
