"""ampmix inside other people's training code: one module a library."""
