"""What a trained run gives back: reconstructed films."""
