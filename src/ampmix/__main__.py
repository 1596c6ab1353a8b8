"""``python -m ampmix``."""

from ampmix.cli import run

if __name__ == "__main__":
    run()
