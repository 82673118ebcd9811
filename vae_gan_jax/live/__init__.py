"""The page to perform with: a server that plays a trained run, and its page."""
