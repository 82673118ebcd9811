"""Write frames as films with the sound of their source, or as numbered PNGs."""
