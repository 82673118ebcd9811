"""What all pages share: their style, elements, and the opening of cameras, screens and files."""

from pathlib import Path

FOLDER = Path(__file__).parent
