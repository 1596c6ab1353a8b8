"""Commands: one file each, with `add_arguments(parser)` and `run(arguments) -> exit code`.

The module's docstring is the command's help. Heavy modules are imported inside the functions.
"""
