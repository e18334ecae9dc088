"""Several processes of `three-mode serve` behind one port: the one that starts them, and each of them."""
