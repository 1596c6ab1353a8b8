"""g and f of any nn.Module: a model cut at a site, which is a submodule's output or its input.

A model runs as one piece, so that nothing of it need be rewritten to cut it. The first pass is
stopped at the site: what arrives there is g. A pass of f runs the model again from the beginning,
with every module that ended before the site answering from memory and the site answering with the
mixed hidden states; only what a forward method computes between its modules is computed anew. So
masks, positions and whatever else bypasses the site are what the model itself makes of its input,
and modules that ran for g (their dropout, their BatchNorm) run once.
"""
