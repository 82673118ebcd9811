"""What all pages share: their style, and the script that opens a camera, a screen or a file."""

from pathlib import Path

FOLDER = Path(__file__).parent
