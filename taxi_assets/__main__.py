"""``python -m taxi_assets`` is the command ``taxi-assets``."""

import sys


def run() -> None:
    """Run the command; an interrupt is one line even before it is loaded."""
    try:
        from taxi_assets.cli import main

        main(prog_name="taxi-assets")
    except KeyboardInterrupt:
        sys.exit("Aborted!")


if __name__ == "__main__":
    run()
