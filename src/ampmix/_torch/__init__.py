"""PyTorch beneath the models: generators, autograd, products, compilation, CUDA graphs."""
