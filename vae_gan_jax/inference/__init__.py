"""A trained run, opened: encode, decode, reconstruct."""
