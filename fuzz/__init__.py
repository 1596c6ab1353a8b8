"""Hostile input: every reader of ampmix is fed what a stranger could send it.

``python -m fuzz --seed 0 --inputs 10000`` (``make fuzz SEED=0 N=10000``) runs every target, guided
by coverage where atheris is installed (``pip install atheris``) and by blind mutation of the same
seeds where not. What a target may do with an input is return or raise `AmpmixError`; all else
(another exception, a process that dies, more than `SLOW` seconds, more than `MEMORY` bytes) is a
finding, whose input is kept.
"""
