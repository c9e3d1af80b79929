"""``python -m taxi_assets`` is the command ``taxi-assets``."""

from taxi_assets.cli import main

main(prog_name="taxi-assets")
