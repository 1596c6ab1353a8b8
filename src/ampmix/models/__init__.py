"""Trained models: prediction, evaluation, export, model cards, loss paths."""
