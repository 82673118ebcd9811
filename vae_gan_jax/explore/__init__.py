"""Paths through the latent space, as films and contact sheets."""
