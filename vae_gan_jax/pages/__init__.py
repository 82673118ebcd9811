"""What all pages share: their style, and scripts for elements and for cameras, screens and files."""

from pathlib import Path

FOLDER = Path(__file__).parent
