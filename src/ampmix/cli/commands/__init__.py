"""The commands, one file each: declare options, parse, call, print."""
