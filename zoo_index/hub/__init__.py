"""The Hugging Face Hub: what it lists, headers of weights without the weights, and downloads."""
