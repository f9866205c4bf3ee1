"""Images on disk: what their headers say, their volumes block by block, and writing them."""
