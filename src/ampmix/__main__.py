"""``python -m ampmix``."""

from ampmix.cli.main import run

if __name__ == "__main__":
    run()
