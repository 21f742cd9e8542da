"""What a network does when it runs, asked on copies: which channels flow where, on inputs of its own making."""
