"""The style of all pictures, and the figures of the thesis."""
