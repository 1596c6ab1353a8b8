"""Tokenizers, vocabularies, encoded texts and word vectors."""
