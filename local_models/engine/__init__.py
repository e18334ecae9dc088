"""Engine: the thread that decodes for all callers of one model, and the delivery of pieces to their event loops."""
