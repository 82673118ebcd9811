"""Autoencoding video frames: a VAE-GAN learns the frames of a film and plays it back (Broad, 2016).

Array names end in their shape, a letter for each axis:

    B  batch          T  frames of a film, in order
    H  height         W  width         C  colour channels, red green blue
    Z  latent dimensions               F  features of a layer

``frames`` are uint8, 0..255; ``x`` are the same pictures as floats, -1..1.
"""

__version__ = "0.2.0.dev0"
