"""The same computation in other clothes: what one network does with other tensors than another."""
